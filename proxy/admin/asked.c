/*
 * Looking through this reactor's own sessions: listing them, or ending them. A list leaves as a
 * file without a name, so that however long it is, nobody waits for anybody.
 */
#include "proxy/admin/asked.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/network.h"
#include "proxy/connections.h"
#include "proxy/datagram.h"
#include "proxy/session.h"

/* Who may ask: the serving generation's first reactor, and for a moment those before it. */
#define ASKERS 4

struct asker {
    struct admin_asked *owner;
    int fd; /* -1: free */
    struct event readable;
};

struct admin_asked {
    struct service *service;
    struct admin_watched *watched;
    struct asker askers[ASKERS];
    unsigned next;
};

/* One look through all sessions. */
struct search {
    const struct admin_question *question;
    struct network network;
    bool has_network;
    uint32_t matched;
    struct admin_session *sessions; /* NULL: none so far */
    size_t count, room;
};

static bool fits(const struct search *search, const struct session_view *view)
{
    const struct admin_question *question = search->question;
    return (!*question->id || strcmp(question->id, view->id) == 0) &&
           (!*question->user || (view->user && strcmp(question->user, view->user) == 0)) &&
           (!search->has_network || network_contains(&search->network, &view->client));
}

static void describe(const struct session_view *view, struct admin_session *out)
{
    char host[ADDRESS_HOST_SIZE];
    address_host(&view->client, host);
    memset(out, 0, sizeof *out);
#define PUT(field, text) admin_message_put(out->field, sizeof out->field, text)
    PUT(id, view->id);
    PUT(client, host);
    PUT(listener, view->listener);
    PUT(user, view->user);
    PUT(mechanism, view->mechanism);
    PUT(helo, view->helo);
    PUT(tls, view->tls);
    PUT(cipher, view->cipher);
    PUT(backend, view->backend);
#undef PUT
    out->state = (uint8_t)view->state;
    out->port = address_port(&view->client);
    out->pid = (uint32_t)getpid();
    out->messages = view->messages;
    out->recipients = view->recipients;
    out->age_ms = view->age_ms;
    out->bytes_in = view->bytes_in;
    out->bytes_out = view->bytes_out;
}

static bool make_room(struct search *search)
{
    if (search->count < search->room)
        return true;
    size_t room = search->room > 0 ? 2 * search->room : 16;
    struct admin_session *grown = reallocarray(search->sessions, room, sizeof *grown);
    if (!grown)
        return false;
    search->sessions = grown;
    search->room = room;
    return true;
}

static void visit(struct connection *connection, void *context)
{
    struct search *search = context;
    struct session *session = session_of(connection);
    struct session_view view;
    session_view(session, &view);
    if (!fits(search, &view))
        return;
    search->matched++;
    if (search->question->type == ADMIN_END_SESSIONS)
        session_end(session, REPLY_ENDED_BY_POSTMASTER, "ended by the postmaster");
    else if (search->count < search->question->limit && make_room(search))
        describe(&view, &search->sessions[search->count++]);
}

uint32_t admin_asked_answer(struct service *service, const struct admin_question *question,
                            struct admin_session **sessions, size_t *count)
{
    struct search search = {.question = question};
    const char *why;
    search.has_network =
        *question->network && network_parse(question->network, &search.network, &why);
    connections_each(service->connections, visit, &search);
    *sessions = search.sessions;
    *count = search.count;
    return search.matched;
}

/* -1: there is nothing to tell, or no memory. */
static int make_file(const struct admin_session *sessions, size_t count)
{
    size_t length = count * sizeof *sessions;
    int fd = length > 0 ? memfd_create("sessions", MFD_CLOEXEC) : -1;
    if (fd >= 0 && write(fd, sessions, length) != (ssize_t)length) {
        close(fd);
        return -1;
    }
    return fd;
}

static void answer(struct asker *asker, const struct admin_question *question)
{
    struct admin_session *sessions;
    size_t count;
    struct admin_answer answer = {.version = ADMIN_MESSAGE_VERSION, .serial = question->serial};
    answer.matched = admin_asked_answer(asker->owner->service, question, &sessions, &count);
    int file = make_file(sessions, count);
    if (!datagram_send(asker->fd, &answer, sizeof answer, file, MSG_DONTWAIT))
        log_warning("cannot answer a question from another reactor: %s",
                    strerrordesc_np(errno));
    if (file >= 0)
        close(file);
    free(sessions);
}

static void forget(struct asker *asker)
{
    if (asker->fd < 0)
        return;
    event_del(&asker->readable);
    close(asker->fd);
    asker->fd = -1;
}

static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    struct asker *asker = argument;
    struct admin_question question;
    int descriptor;
    ssize_t got = datagram_receive(fd, &question, sizeof question, &descriptor);
    bool good = got > 0 && admin_question_valid(&question, (size_t)got);
    if (good && question.type == ADMIN_WATCH_EVENTS && descriptor >= 0) {
        admin_watched_add(asker->owner->watched, question.serial, descriptor);
        return;
    }
    if (descriptor >= 0)
        close(descriptor);
    if (got < 0 && errno == EAGAIN)
        return;
    if (good && question.type != ADMIN_WATCH_EVENTS)
        answer(asker, &question);
    if (good)
        return;
    if (got != 0)
        log_error("malformed question from another reactor");
    forget(asker);
}

struct admin_asked *admin_asked_new(struct service *service, struct admin_watched *watched)
{
    struct admin_asked *asked = calloc(1, sizeof *asked);
    for (int i = 0; asked && i < ASKERS; i++)
        asked->askers[i] = (struct asker){.owner = asked, .fd = -1};
    if (asked) {
        asked->service = service;
        asked->watched = watched;
    }
    return asked;
}

void admin_asked_free(struct admin_asked *asked)
{
    for (int i = 0; asked && i < ASKERS; i++)
        forget(&asked->askers[i]);
    free(asked);
}

/* The one that has been there longest makes way. */
void admin_asked_add(struct admin_asked *asked, int fd)
{
    struct asker *asker = &asked->askers[asked->next++ % ASKERS];
    forget(asker);
    asker->fd = fd;
    event_assign(&asker->readable, asked->service->base, fd, EV_READ | EV_PERSIST, on_readable,
                 asker);
    event_add(&asker->readable, NULL);
}
