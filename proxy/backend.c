/*
 * The life of a session's opening at a backend: connection, TLS, deadlines, and the one
 * callback. Owned by a session (handover.c) or by an upstream's probe; gives the stream away
 * when it is ready for the client.
 */
#include "proxy/backend.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/backend_internal.h"
#include "proxy/backend_socket.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/opener_client.h"
#include "proxy/room.h"
#include "proxy/service.h"

/* All that a backend may say until it is ready. */
#define OPENING_LIMIT_BYTES (64 * 1024)
/* How often a descriptor is looked for where there is none. */
#define ROOM_AGAIN_MS 50

static void finish(struct backend *backend, const struct backend_result *result)
{
    backend_callback *callback = backend->callback;
    void *context = backend->context;
    backend->step = STEP_OVER;
    callback(context, result);
    backend_cancel(backend);
}

/* Has the backend heard who the client is, or may it have? What goes wrong then may be him. */
static bool is_about_client(const struct backend *backend)
{
    const struct identity_way *way = backend->way;
    bool knows_before_greeting = way->proxy > 0 || way->transport != IDENTITY_SOCKET;
    return !backend->probe && (backend->step >= STEP_XCLIENT || knows_before_greeting);
}

void backend_fail(struct backend *backend, enum reply reply, const char *format, ...)
{
    if (backend->step == STEP_OVER)
        return;
    backend->of_client |= is_about_client(backend);
    backend->step = STEP_OVER;
    backend->reply = reply;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(backend->cause, sizeof backend->cause, format, arguments);
    va_end(arguments);
}

static void deliver_probe(struct backend *backend)
{
    static const char quit[] = "QUIT\r\n";
    stream_write(backend->stream, quit, sizeof quit - 1);
    stream_finish(backend->stream, false);
    backend->stream = NULL;
    finish(backend, &(struct backend_result){.ehlo = &backend->ehlo});
}

static void deliver_session(struct backend *backend)
{
    struct stream *stream = backend->stream;
    backend->stream = NULL;
    finish(backend, &(struct backend_result){.stream = stream, .ehlo = &backend->ehlo});
}

/* At the end of an event: calls back if there is something to tell. The backend may be gone. */
static void settle(struct backend *backend)
{
    if (backend->step == STEP_OVER)
        finish(backend, &(struct backend_result){
                            .reply = backend->reply,
                            .of_client = backend->of_client,
                            .refusal = backend->is_refused ? backend->refusal : NULL,
                            .cause = backend->cause});
    else if (backend->step == STEP_READY && backend->probe)
        deliver_probe(backend);
    else if (backend->step == STEP_READY)
        deliver_session(backend);
}

static void read_input(struct backend *backend)
{
    size_t got = 0;
    char *room = buffer_reserve(&backend->input, BUFFER_BLOCK_SIZE);
    enum stream_status status =
        room ? stream_read(backend->stream, room, BUFFER_BLOCK_SIZE, &got) : STREAM_BROKEN;

    buffer_commit(&backend->input, got);
    backend->received_bytes += got;
    if (backend->received_bytes > OPENING_LIMIT_BYTES)
        backend_fail(backend, REPLY_BACKEND_CONFUSED,
                     "backend sent too much before it was ready");
    else if (status == STREAM_OK)
        backend_take_input(backend);
    else if (status == STREAM_EOF)
        backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "backend closed the connection");
    settle(backend);
}

static void on_stream(void *context, struct stream *stream, enum stream_event event)
{
    struct backend *backend = context;
    if (event == STREAM_READABLE) {
        read_input(backend);
    } else if (event == STREAM_SECURED) {
        backend_secured(backend);
        settle(backend);
    } else if (event == STREAM_FAILED) {
        backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "%s: %s",
                     backend->step == STEP_HANDSHAKE ? "no TLS with the backend"
                                                     : "cannot reach the backend",
                     stream_error(stream));
        settle(backend);
    }
}

static void set_timer(struct backend *backend, uint32_t wait_ms)
{
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    evtimer_add(&backend->timer, &wait);
}

static bool is_connected(const struct backend *backend)
{
    struct address peer;
    socklen_t length = sizeof peer.any;
    return backend->stream &&
           getpeername(stream_descriptor(backend->stream), &peer.any, &length) == 0;
}

/* The shorter of its two times comes first. */
static void start_deadline(struct backend *backend)
{
    const struct config_timeouts *timeouts = &backend->service->config->timeouts;
    uint32_t connect_ms = timeouts->backend_connect_ms;
    uint32_t identity_ms = timeouts->backend_identity_ms;
    set_timer(backend, identity_ms < connect_ms ? identity_ms : connect_ms);
}

static void time_is_over(struct backend *backend, bool connected)
{
    const struct config_timeouts *timeouts = &backend->service->config->timeouts;
    if (connected)
        backend_fail(backend, REPLY_BACKEND_SILENT, "backend was not ready in %u s",
                     timeouts->backend_identity_ms / 1000);
    else
        backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "no connection to the backend in %u s",
                     timeouts->backend_connect_ms / 1000);
}

/* The other of the two times goes on; a late connection has its whole time to be ready. */
static void expire(struct backend *backend)
{
    const struct config_timeouts *timeouts = &backend->service->config->timeouts;
    uint32_t connect_ms = timeouts->backend_connect_ms;
    uint32_t identity_ms = timeouts->backend_identity_ms;
    bool connected = is_connected(backend);
    enum backend_expiry before = backend->expiry;
    backend->expiry = connected ? EXPIRY_CONNECTED : EXPIRY_UNCONNECTED;
    if (before == EXPIRY_NONE && connected && identity_ms > connect_ms)
        set_timer(backend, identity_ms - connect_ms);
    else if (before == EXPIRY_NONE && !connected && identity_ms < connect_ms)
        set_timer(backend, connect_ms - identity_ms);
    else if (before == EXPIRY_UNCONNECTED && connected)
        set_timer(backend, identity_ms);
    else
        time_is_over(backend, connected);
}

static void say_preamble(struct backend *backend)
{
    char preamble[IDENTITY_PREAMBLE_SIZE];
    size_t length;
    if (!identity_preamble(backend->way, backend->probe ? NULL : &backend->identity, preamble,
                           &length)) {
        backend_fail(backend, REPLY_BACKEND_NO_IDENTITY,
                     "the client's identity is too long for a PROXY header");
    } else if (length > 0) {
        stream_write(backend->stream, preamble, length);
        stream_flush(backend->stream);
    }
}

void backend_secure(struct backend *backend)
{
    const struct config_backend *config = backend->config;
    size_t index = (size_t)(config - backend->service->config->backends);
    char host[ADDRESS_HOST_SIZE];
    address_host(&config->address, host);

    backend->step = STEP_HANDSHAKE;
    if (!stream_secure_client(backend->stream, backend->service->backend_contexts[index],
                              *config->tls_name ? config->tls_name : host))
        backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "out of memory");
}

/* False: no memory, and the socket is closed. */
static bool use_socket(struct backend *backend, int fd)
{
    backend->step = STEP_GREETING;
    backend->stream = stream_new(backend->service->streams, fd, on_stream, backend);
    if (!backend->stream)
        return false;
    say_preamble(backend);
    if (backend->config->tls == CONFIG_BACKEND_TLS_IMPLICIT && backend->step != STEP_OVER)
        backend_secure(backend);
    return true;
}

/* A program cannot be told of this client, he has his share of them, or there is no way from
 * where he is. */
static bool is_of_client(int error)
{
    return error == EINVAL || error == EAFNOSUPPORT || error == EDQUOT;
}

/* Room is made from the loop, as this may be another session's turn. */
static void wait_for_room(struct backend *backend)
{
    if (backend->give_up_ms == 0) {
        log_warning("backend \"%s\": a session waits for a descriptor", backend->config->name);
        backend->give_up_ms =
            clock_now_ms() + backend->service->config->timeouts.backend_connect_ms;
    }
    backend->waits = true;
    event_active(&backend->timer, EV_TIMEOUT, 0);
}

static void on_opened(void *context, int descriptor, int error)
{
    struct backend *backend = context;
    backend->request = NULL;
    bool may_wait = backend->give_up_ms == 0 || clock_now_ms() < backend->give_up_ms;
    if (error == OPENER_NO_ROOM && may_wait) {
        wait_for_room(backend);
        return;
    }
    backend->of_client = descriptor < 0 && is_of_client(error);
    if (descriptor < 0)
        backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
                     opener_error(error));
    else if (!use_socket(backend, descriptor))
        backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "out of memory");
    settle(backend);
}

static bool begin(struct backend *backend)
{
    int fd = backend_socket_open(backend->service, backend->config,
                                 backend->probe ? NULL : &backend->identity, on_opened, backend,
                                 &backend->request);
    return fd >= 0 ? use_socket(backend, fd) : backend->request != NULL;
}

/* False: no descriptor is left for it, and it may be tried again. */
static bool attempt(struct backend *backend)
{
    errno = 0;
    if (begin(backend))
        return true;
    if (room_is_lacking(errno))
        return false;
    backend->of_client = is_of_client(errno);
    backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
                 strerrordesc_np(errno));
    return true;
}

/* A session comes before connections that are idle; no client gives way to a probe. */
static void start_again(struct backend *backend)
{
    if (!backend->probe)
        room_free_descriptor(backend->service);
    if (attempt(backend)) {
        backend->waits = false;
        start_deadline(backend);
    } else if (clock_now_ms() < backend->give_up_ms) {
        set_timer(backend, ROOM_AGAIN_MS);
    } else {
        backend->of_client = true; /* that is no fault of the backend's: a probe decides */
        backend_fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
                     strerrordesc_np(EMFILE));
    }
}

/* First for the connection, then, if there is one, for all the rest. */
static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct backend *backend = argument;
    if (backend->waits && backend->step != STEP_OVER)
        start_again(backend);
    else if (backend->step != STEP_OVER)
        expire(backend);
    settle(backend);
}

static struct backend *make(struct service *service, const struct config_backend *config,
                            backend_callback *callback, void *context)
{
    struct backend *backend = calloc(1, sizeof *backend);
    if (!backend)
        return NULL;
    backend->service = service;
    backend->config = config;
    backend->way = identity_way(config->identity);
    backend->callback = callback;
    backend->context = context;
    evtimer_assign(&backend->timer, service->base, on_timer, backend);
    return backend;
}

static void start(struct backend *backend)
{
    if (!attempt(backend))
        wait_for_room(backend);
    else if (backend->step == STEP_OVER)
        event_active(&backend->timer, EV_TIMEOUT, 0);
    else
        start_deadline(backend);
}

struct backend *backend_open(struct service *service, const struct config_backend *config,
                             const struct identity *identity, backend_callback *callback,
                             void *context)
{
    struct backend *backend = make(service, config, callback, context);
    if (!backend)
        return NULL;
    backend->identity = *identity;
    start(backend);
    return backend;
}

struct backend *backend_probe(struct service *service, const struct config_backend *config,
                              backend_callback *callback, void *context)
{
    struct backend *backend = make(service, config, callback, context);
    if (!backend)
        return NULL;
    backend->probe = true;
    start(backend);
    return backend;
}

void backend_cancel(struct backend *backend)
{
    if (!backend)
        return;
    event_del(&backend->timer);
    opener_request_cancel(backend->request);
    stream_free(backend->stream);
    buffer_release(&backend->input);
    free(backend->refusal);
    free(backend);
}
