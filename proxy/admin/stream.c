/*
 * evhttp's chunked replies. While a reply is under way evhttp does not read, and would find a
 * reader that has left only when it writes to it: an event of ours looks for that. Called by
 * events.c; owns the request.
 */
#include "proxy/admin/stream.h"

#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <stdlib.h>

#include "proxy/base/slab.h"

struct admin_stream {
    struct evhttp_request *http;
    const struct admin_stream_calls *calls;
    void *context;
    struct evbuffer *piece;
    struct event left;
};

static struct bufferevent *events_of(const struct admin_stream *stream)
{
    return evhttp_connection_get_bufferevent(evhttp_request_get_connection(stream->http));
}

static void release(struct admin_stream *stream)
{
    event_del(&stream->left);
    evbuffer_free(stream->piece);
    free(stream);
}

/* evhttp frees the connection, and the request with it. */
static void on_closed(struct evhttp_connection *connection, void *argument)
{
    struct admin_stream *stream = argument;
    (void)connection;
    stream->calls->gone(stream->context);
    release(stream);
}

/* It has closed, or speaks where nothing is to be said. */
static void on_left(int fd, short what, void *argument)
{
    struct admin_stream *stream = argument;
    (void)fd, (void)what;
    evhttp_connection_free(evhttp_request_get_connection(stream->http));
}

static void on_drained(struct evhttp_connection *connection, void *argument)
{
    struct admin_stream *stream = argument;
    (void)connection;
    stream->calls->drained(stream->context);
}

struct admin_stream *admin_stream_begin(struct admin_request *request, const char *content_type,
                                        const struct admin_stream_calls *calls, void *context)
{
    struct admin_stream *stream = calloc(1, sizeof *stream);
    struct evhttp_connection *connection = evhttp_request_get_connection(request->http);
    if (!stream || !(stream->piece = evbuffer_new())) {
        free(stream);
        admin_reply_error(request, 503, "out of memory");
        return NULL;
    }
    stream->http = request->http;
    stream->calls = calls;
    stream->context = context;
    admin_add_header(request, "Content-Type", content_type);
    admin_add_header(request, "Cache-Control", "no-store");
    admin_add_header(request, "Connection", "close");
    admin_add_header(request, "X-Content-Type-Options", "nosniff");
    evbuffer_free(request->body);
    free(request);
    /* A reader may be silent for hours, and a full pipe after it may stand still. */
    bufferevent_set_timeouts(events_of(stream), NULL, NULL);
    evhttp_connection_set_closecb(connection, on_closed, stream);
    event_assign(&stream->left, bufferevent_get_base(events_of(stream)),
                 bufferevent_getfd(events_of(stream)), EV_READ, on_left, stream);
    event_add(&stream->left, NULL);
    evhttp_send_reply_start(stream->http, HTTP_OK, NULL);
    return stream;
}

static size_t waiting(const struct admin_stream *stream)
{
    return evbuffer_get_length(bufferevent_get_output(events_of(stream)));
}

bool admin_stream_send(struct admin_stream *stream, const char *bytes, size_t length)
{
    if (waiting(stream) + length > ADMIN_STREAM_LIMIT_BYTES || slab_is_short() ||
        evbuffer_add(stream->piece, bytes, length) < 0)
        return false;
    evhttp_send_reply_chunk_with_cb(stream->http, stream->piece, on_drained, stream);
    return true;
}

void admin_stream_end(struct admin_stream *stream)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(stream->http);
    evhttp_connection_set_closecb(connection, NULL, NULL);
    event_del(&stream->left);
    bufferevent_set_timeouts(events_of(stream), NULL, &(struct timeval){20, 0});
    evhttp_send_reply_end(stream->http);
    release(stream);
}

void admin_stream_end_now(struct admin_stream *stream)
{
    struct bufferevent *events = events_of(stream);
    int fd = bufferevent_getfd(events);
    bufferevent_incref(events);
    admin_stream_end(stream);
    evbuffer_unfreeze(bufferevent_get_output(events), 1);
    (void)evbuffer_write(bufferevent_get_output(events), fd);
    bufferevent_decref(events);
}
