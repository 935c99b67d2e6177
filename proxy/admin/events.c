/*
 * While somebody watches, all reactors, this one among them, send their events to one socket of
 * this reactor, and each reader gets those that fit. Nobody watches: there is no socket, and no
 * reactor has anything to do.
 *
 *   reactor ─┐
 *   reactor ─┼─ datagrams ──> events.c ─┬─ filter ──> stream.c ──> reader
 *   own log ─┘                          └─ filter ──> stream.c ──> reader
 *
 * What has no room on the way, at a reactor or a reader, is counted, and each reader is told.
 */
#include "proxy/admin/events.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/admin/internal.h"
#include "proxy/admin/message.h"
#include "proxy/admin/stream.h"
#include "proxy/base/address.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/datagram.h"

/* Connections of the interface are few, and others need them, too. */
#define READERS 8
/* Datagrams in one turn, so that sessions have theirs. */
#define TURN 64

struct reader {
    LIST_ENTRY(reader) link;
    struct admin_events *owner;
    struct admin_stream *stream;
    struct network network;
    bool has_network;
    char user[ADMIN_QUERY_VALUE_SIZE], name[ADMIN_QUERY_VALUE_SIZE]; /* "": all */
    uint64_t lost;                                                   /* and not told yet */
};

LIST_HEAD(reader_list, reader);

struct admin_events {
    struct event_base *base;
    struct admin_peers *peers;
    struct admin_watched *own;
    struct reader_list readers;
    unsigned count;
    int in, out; /* of all reactors' events; -1: nobody watches */
    struct event readable;
};

/* An event of the stream's own; `rest` is what follows its name in the object. */
static bool tell(const struct reader *reader, const char *level, const char *name,
                 const char *rest)
{
    char line[256], now[CLOCK_TEXT_SIZE];
    clock_text(now);
    int length =
        snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"%s}\n",
                 now, level, name, rest);
    return admin_stream_send(reader->stream, line, (size_t)length);
}

static bool tell_lost(struct reader *reader)
{
    char count[40];
    if (reader->lost == 0)
        return true;
    snprintf(count, sizeof count, ",\"count\":%" PRIu64, reader->lost);
    if (!tell(reader, "warning", "events lost", count))
        return false;
    reader->lost = 0;
    return true;
}

static void give(struct reader *reader, const char *line, size_t length)
{
    char whole[LOG_LINE_LIMIT + 1];
    memcpy(whole, line, length);
    whole[length] = '\n';
    if (!tell_lost(reader) || !admin_stream_send(reader->stream, whole, length + 1))
        reader->lost++;
}

/* "login" is "login failed", too. */
static bool name_fits(const char *wanted, const char *name)
{
    size_t length = strlen(wanted);
    return strncmp(wanted, name, length) == 0 && (name[length] == '\0' || name[length] == ' ');
}

static bool network_fits(const struct reader *reader, const char *client)
{
    char text[ADDRESS_HOST_SIZE + sizeof "[]:1"];
    struct address address;
    const char *why;
    if (!reader->has_network)
        return true;
    snprintf(text, sizeof text, strchr(client, ':') ? "[%s]:1" : "%s:1", client);
    return address_parse(text, &address, &why) && network_contains(&reader->network, &address);
}

static bool fits(const struct reader *reader, const struct admin_event *event)
{
    if (*reader->user && strcmp(reader->user, event->user) != 0)
        return false;
    if (*reader->name && !name_fits(reader->name, event->name))
        return false;
    return network_fits(reader, event->client);
}

static void take(struct admin_events *events, const struct admin_event *event)
{
    struct reader *each;
    LIST_FOREACH(each, &events->readers, link)
    {
        each->lost += event->lost;
        if (fits(each, event))
            give(each, event->line, event->length);
    }
}

static void on_readable(int fd, short what, void *argument)
{
    struct admin_events *events = argument;
    static struct admin_event event;
    int descriptor;
    (void)what;
    for (int i = 0; i < TURN; i++) {
        ssize_t got = datagram_receive(fd, &event, sizeof event, &descriptor);
        if (descriptor >= 0)
            close(descriptor);
        if (got <= 0)
            return;
        if (admin_event_valid(&event, (size_t)got))
            take(events, &event);
    }
}

static void stop_listening(struct admin_events *events)
{
    if (events->in < 0)
        return;
    admin_peers_watch(events->peers, -1);
    event_del(&events->readable);
    close(events->in);
    close(events->out);
    events->in = events->out = -1;
}

/* The reactors share the other end, each by a descriptor of its own. */
static bool start_listening(struct admin_events *events)
{
    int pair[2];
    if (events->in >= 0)
        return true;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return false;
    int own = fcntl(pair[1], F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        close(pair[0]);
        close(pair[1]);
        return false;
    }
    events->in = pair[0];
    events->out = pair[1];
    event_assign(&events->readable, events->base, pair[0], EV_READ | EV_PERSIST, on_readable,
                 events);
    event_add(&events->readable, NULL);
    admin_peers_watch(events->peers, pair[1]);
    admin_watched_add(events->own, (uint32_t)getpid(), own);
    return true;
}

static void forget(struct reader *reader)
{
    struct admin_events *events = reader->owner;
    LIST_REMOVE(reader, link);
    free(reader);
    if (--events->count == 0)
        stop_listening(events);
}

static void on_gone(void *context)
{
    forget(context);
}

static void on_drained(void *context)
{
    (void)tell_lost(context);
}

/* NULL, or what is wrong with the filters. */
static const char *read_filters(const struct admin_query *query, struct reader *reader)
{
    strcpy(reader->user, query->value[ADMIN_PARAMETER_USER]);
    strcpy(reader->name, query->value[ADMIN_PARAMETER_EVENT]);
    reader->has_network = query->given[ADMIN_PARAMETER_ADDRESS];
    return reader->has_network ? admin_query_network(query, &reader->network) : NULL;
}

static void begin(struct admin_events *events, struct reader *reader,
                  struct admin_request *request)
{
    static const struct admin_stream_calls calls = {.drained = on_drained, .gone = on_gone};
    if (!start_listening(events)) {
        free(reader);
        admin_reply_error(request, 503, "no more descriptors");
        return;
    }
    reader->owner = events;
    LIST_INSERT_HEAD(&events->readers, reader, link);
    events->count++;
    reader->stream = admin_stream_begin(request, "application/x-ndjson", &calls, reader);
    if (reader->stream)
        (void)!tell(reader, "info", "stream began", "");
    else
        forget(reader);
}

void admin_events_watch(struct admin_events *events, struct admin_request *request)
{
    if (evhttp_request_get_command(request->http) == EVHTTP_REQ_HEAD) {
        admin_reply(request, "application/x-ndjson");
        return;
    }
    if (events->count == READERS) {
        admin_reply_error(request, 503, "too many watch already");
        return;
    }
    struct reader *reader = calloc(1, sizeof *reader);
    const char *why = reader ? read_filters(&request->query, reader) : NULL;
    if (reader && !why) {
        begin(events, reader, request);
        return;
    }
    free(reader);
    admin_reply_error(request, why ? 400 : 503, why ? why : "out of memory");
}

void admin_show_events(struct admin_request *request)
{
    admin_events_watch(admin_of(request)->events, request);
}

/* `cause` is one of ours, without a quote. */
static void end_all(struct admin_events *events, const char *cause,
                    void (*end)(struct admin_stream *stream))
{
    char rest[80];
    snprintf(rest, sizeof rest, ",\"cause\":\"%s\"", cause);
    struct reader *next;
    for (struct reader *reader = LIST_FIRST(&events->readers); reader; reader = next) {
        next = LIST_NEXT(reader, link);
        (void)!tell(reader, "notice", "stream ended", rest);
        end(reader->stream);
        forget(reader);
    }
}

void admin_events_end(struct admin_events *events, const char *cause)
{
    end_all(events, cause, admin_stream_end);
}

struct admin_events *admin_events_new(struct event_base *base, struct admin_peers *peers,
                                      struct admin_watched *own)
{
    struct admin_events *events = calloc(1, sizeof *events);
    if (!events)
        return NULL;
    *events =
        (struct admin_events){.base = base, .peers = peers, .own = own, .in = -1, .out = -1};
    LIST_INIT(&events->readers);
    return events;
}

void admin_events_free(struct admin_events *events)
{
    if (!events)
        return;
    end_all(events, ADMIN_STOPPING, admin_stream_end_now);
    free(events);
}
