/*
 * Questions to other reactors and their answers. Whatever another reactor sends is checked, and
 * counted against the limit of its question; one that sends nonsense is asked no more.
 */
#include "proxy/admin/peers.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/admin/asked.h"
#include "proxy/base/log.h"
#include "proxy/datagram.h"

#define DEADLINE_S 3

struct peer {
    TAILQ_ENTRY(peer) link;
    struct admin_peers *owner;
    int fd;
    struct event readable;
};

/* A question that has not been answered by all. */
struct exchange {
    TAILQ_ENTRY(exchange) link;
    struct admin_peers *owner;
    uint32_t serial, limit;
    const struct peer **awaited; /* NULL in the place of one that has answered */
    unsigned awaited_count;
    struct event deadline;
    struct admin_gathered gathered;
    admin_gathered_callback *callback;
    struct admin_request *request;
};

TAILQ_HEAD(peer_list, peer);
TAILQ_HEAD(exchange_list, exchange);

struct admin_peers {
    struct service *service;
    struct peer_list list;
    unsigned count;
    struct exchange_list exchanges;
    uint32_t serial;
    int events; /* where they send their events; -1: nowhere */
};

struct admin_peers *admin_peers_new(struct service *service)
{
    struct admin_peers *peers = calloc(1, sizeof *peers);
    if (!peers)
        return NULL;
    peers->service = service;
    peers->events = -1;
    TAILQ_INIT(&peers->list);
    TAILQ_INIT(&peers->exchanges);
    return peers;
}

static void conclude(struct exchange *exchange)
{
    TAILQ_REMOVE(&exchange->owner->exchanges, exchange, link);
    event_del(&exchange->deadline);
    for (unsigned i = 0; i < exchange->awaited_count; i++)
        exchange->gathered.silent += exchange->awaited[i] != NULL;
    exchange->callback(exchange->request, &exchange->gathered);
    free(exchange->gathered.sessions);
    free(exchange->awaited);
    free(exchange);
}

static void on_deadline(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    conclude(argument);
}

/* True: it was awaited, and is no more. */
static bool await_no_more(struct exchange *exchange, const struct peer *peer)
{
    for (unsigned i = 0; i < exchange->awaited_count; i++) {
        if (exchange->awaited[i] != peer)
            continue;
        exchange->awaited[i] = NULL;
        return true;
    }
    return false;
}

static bool is_complete(const struct exchange *exchange)
{
    for (unsigned i = 0; i < exchange->awaited_count; i++)
        if (exchange->awaited[i])
            return false;
    return true;
}

/* One that has ended (`has_ended`) has no sessions any more, which is an answer, too. */
static void drop_peer(struct peer *peer, bool has_ended)
{
    struct admin_peers *peers = peer->owner;
    struct exchange *each = TAILQ_FIRST(&peers->exchanges);
    TAILQ_REMOVE(&peers->list, peer, link);
    peers->count--;
    while (each) {
        struct exchange *next = TAILQ_NEXT(each, link);
        if (await_no_more(each, peer)) {
            each->gathered.silent += !has_ended;
            if (is_complete(each))
                conclude(each);
        }
        each = next;
    }
    event_del(&peer->readable);
    close(peer->fd);
    free(peer);
}

void admin_peers_forget(struct admin_peers *peers)
{
    while (!TAILQ_EMPTY(&peers->list))
        drop_peer(TAILQ_FIRST(&peers->list), false);
}

void admin_peers_free(struct admin_peers *peers)
{
    if (!peers)
        return;
    admin_peers_forget(peers);
    free(peers);
}

static void add_sessions(struct admin_gathered *gathered, const struct admin_session *sessions,
                         size_t count, uint32_t limit)
{
    size_t room = limit - gathered->count;
    if (count > room)
        count = room;
    struct admin_session *grown =
        count > 0 ? reallocarray(gathered->sessions, gathered->count + count, sizeof *grown)
                  : NULL;
    if (!grown)
        return;
    memcpy(grown + gathered->count, sessions, count * sizeof *grown);
    gathered->sessions = grown;
    gathered->count += count;
}

/* False: it is not what was asked for. */
static bool read_sessions(struct exchange *exchange, int file)
{
    struct stat status;
    struct admin_session *sessions;
    bool good = false;
    if (fstat(file, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size <= 0 ||
        (size_t)status.st_size % sizeof *sessions != 0 ||
        (size_t)status.st_size / sizeof *sessions > exchange->limit)
        return false;
    size_t length = (size_t)status.st_size, count = length / sizeof *sessions;
    sessions = malloc(length);
    if (sessions && pread(file, sessions, length, 0) == (ssize_t)length) {
        good = true;
        for (size_t i = 0; i < count && good; i++)
            good = admin_session_valid(&sessions[i]);
    }
    if (good)
        add_sessions(&exchange->gathered, sessions, count, exchange->limit);
    free(sessions);
    return good;
}

static struct exchange *find(const struct admin_peers *peers, uint32_t serial)
{
    struct exchange *each;
    TAILQ_FOREACH(each, &peers->exchanges, link)
    if (each->serial == serial)
        return each;
    return NULL;
}

/* False: the peer is not to be asked any more. An answer that comes too late is none. */
static bool take_answer(struct peer *peer, const struct admin_answer *answer, int file)
{
    struct exchange *exchange = find(peer->owner, answer->serial);
    if (!exchange || !await_no_more(exchange, peer))
        return true;
    bool good = file < 0 || read_sessions(exchange, file);
    if (good)
        exchange->gathered.matched += answer->matched;
    else
        exchange->gathered.silent++;
    if (is_complete(exchange))
        conclude(exchange);
    return good;
}

static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    struct peer *peer = argument;
    struct admin_answer answer;
    int file;
    ssize_t got = datagram_receive(fd, &answer, sizeof answer, &file);
    if (got < 0 && errno == EAGAIN)
        return;
    bool good = got > 0 && file != DATAGRAM_DESCRIPTOR_LOST &&
                admin_answer_valid(&answer, (size_t)got) && take_answer(peer, &answer, file);
    if (file >= 0)
        close(file);
    if (good)
        return;
    if (got != 0)
        log_error("malformed answer from another reactor");
    drop_peer(peer, got == 0);
}

/* One that cannot be told has ended, or has its own troubles: what it does is not shown. */
static void ask_for_events(const struct peer *peer)
{
    struct admin_question question = {.version = ADMIN_MESSAGE_VERSION,
                                      .type = ADMIN_WATCH_EVENTS,
                                      .serial = (uint32_t)getpid()};
    if (!datagram_send(peer->fd, &question, sizeof question, peer->owner->events,
                       MSG_DONTWAIT) &&
        errno != EPIPE)
        log_warning("another reactor's events are not shown: %s", strerrordesc_np(errno));
}

void admin_peers_watch(struct admin_peers *peers, int fd)
{
    const struct peer *each;
    peers->events = fd;
    if (fd < 0)
        return;
    TAILQ_FOREACH(each, &peers->list, link)
    ask_for_events(each);
}

void admin_peers_add(struct admin_peers *peers, int fd)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        close(fd);
        return;
    }
    peer->owner = peers;
    peer->fd = fd;
    event_assign(&peer->readable, peers->service->base, fd, EV_READ | EV_PERSIST, on_readable,
                 peer);
    event_add(&peer->readable, NULL);
    TAILQ_INSERT_TAIL(&peers->list, peer, link);
    peers->count++;
    if (peers->events >= 0)
        ask_for_events(peer);
}

static void ask_all(struct exchange *exchange, const struct admin_question *question)
{
    struct peer *each;
    TAILQ_FOREACH(each, &exchange->owner->list, link)
    {
        if (datagram_send(each->fd, question, sizeof *question, -1, MSG_DONTWAIT))
            exchange->awaited[exchange->awaited_count++] = each;
        else
            exchange->gathered.silent += errno != EPIPE;
    }
}

void admin_peers_ask(struct admin_peers *peers, struct admin_question *question,
                     admin_gathered_callback *callback, struct admin_request *request)
{
    struct timeval wait = {DEADLINE_S, 0};
    struct exchange *exchange = calloc(1, sizeof *exchange);
    const struct peer **awaited = calloc(peers->count + 1, sizeof *awaited);
    if (!exchange || !awaited) {
        free(exchange);
        free(awaited);
        admin_reply_error(request, 500, "out of memory");
        return;
    }
    question->version = ADMIN_MESSAGE_VERSION;
    question->serial = ++peers->serial;
    *exchange = (struct exchange){.owner = peers,
                                  .serial = question->serial,
                                  .limit = question->limit,
                                  .awaited = awaited,
                                  .callback = callback,
                                  .request = request};
    evtimer_assign(&exchange->deadline, peers->service->base, on_deadline, exchange);
    evtimer_add(&exchange->deadline, &wait);
    TAILQ_INSERT_TAIL(&peers->exchanges, exchange, link);
    ask_all(exchange, question);
    exchange->gathered.matched = admin_asked_answer(
        peers->service, question, &exchange->gathered.sessions, &exchange->gathered.count);
    if (is_complete(exchange))
        conclude(exchange);
}
