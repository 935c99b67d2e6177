/*
 * The opening of a session at the backend. Owned by a session (handover.c) or by an
 * upstream's probe; gives the stream away when it is ready for the client. What the backend
 * says is hostile: lines and replies are bounded, and a word out of turn ends it.
 */
#include "proxy/backend.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/backend_socket.h"
#include "proxy/base/buffer.h"
#include "proxy/opener_client.h"
#include "proxy/service.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/reply.h"

/* All that a backend may say until it is ready. */
#define OPENING_LIMIT_BYTES (64 * 1024)
#define CAUSE_SIZE          256

enum backend_step {
    STEP_CONNECTING, /* by the opener */
    STEP_GREETING,
    STEP_EHLO,
    STEP_XCLIENT,
    STEP_CLIENTS_HELLO,
    STEP_READY,
    STEP_OVER, /* failed; the callback is due */
};

struct backend {
    struct service *service;
    backend_callback *callback;
    void *context;
    struct stream *stream;
    struct opener_request *request;
    const struct config_backend *config;
    const struct identity_way *way;
    struct identity identity;
    bool probe;
    enum backend_step step;
    enum reply reply;
    bool connected; /* as far as the deadlines know */
    struct event timer;
    struct buffer input;
    size_t received_bytes;
    struct smtp_reply_state reply_state;
    unsigned reply_lines;
    bool reply_whole;
    struct smtp_ehlo ehlo;
    struct smtp_xclient_commands xclient;
    unsigned xclient_sent;
    char cause[CAUSE_SIZE];
};

static void finish(struct backend *backend, const struct backend_result *result)
{
    backend_callback *callback = backend->callback;
    void *context = backend->context;
    backend->step = STEP_OVER;
    callback(context, result);
    backend_cancel(backend);
}

/* The first cause stays; the callback comes from the event that is under way. */
static void PRINTF_LIKE(3, 4)
    fail(struct backend *backend, enum reply reply, const char *format, ...)
{
    if (backend->step == STEP_OVER)
        return;
    backend->step = STEP_OVER;
    backend->reply = reply;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(backend->cause, sizeof backend->cause, format, arguments);
    va_end(arguments);
}

static void say_hello(struct backend *backend, const char *verb, const char *name)
{
    char line[SMTP_DOMAIN_LIMIT + 16];
    int length = snprintf(line, sizeof line, "%s %s\r\n", verb, name);
    if (length < 0 || (size_t)length >= sizeof line) {
        fail(backend, REPLY_BACKEND_NO_IDENTITY, "the name for EHLO is too long");
        return;
    }
    memset(&backend->ehlo, 0, sizeof backend->ehlo);
    stream_write(backend->stream, line, (size_t)length);
    stream_flush(backend->stream);
}

static void say_own_ehlo(struct backend *backend)
{
    backend->step = STEP_EHLO;
    say_hello(backend, "EHLO", backend->service->config->hostname);
}

static void say_clients_hello(struct backend *backend)
{
    const struct identity *identity = &backend->identity;
    backend->step = STEP_CLIENTS_HELLO;
    say_hello(backend, identity->esmtp ? "EHLO" : "HELO", identity->helo);
}

static void say_xclient(struct backend *backend)
{
    unsigned index = backend->xclient_sent++;
    backend->step = STEP_XCLIENT;
    stream_write(backend->stream, backend->xclient.text[index], backend->xclient.length[index]);
    stream_flush(backend->stream);
}

static void begin_identity(struct backend *backend)
{
    char cause[IDENTITY_CAUSE_SIZE];
    if (identity_xclient(&backend->identity, backend->config, &backend->ehlo, &backend->xclient,
                         cause))
        say_xclient(backend);
    else
        fail(backend, REPLY_BACKEND_NO_IDENTITY, "%s", cause);
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
        finish(backend,
               &(struct backend_result){.reply = backend->reply, .cause = backend->cause});
    else if (backend->step == STEP_READY && backend->probe)
        deliver_probe(backend);
    else if (backend->step == STEP_READY)
        deliver_session(backend);
}

/* What the step was, and whether the code is the one that it needs. */
static bool accepted(struct backend *backend, const struct smtp_reply_line *line)
{
    static const struct {
        const char *what;
        enum reply reply;
        unsigned code; /* 0: any 2xx */
    } steps[] = {
        [STEP_GREETING] = {"the connection", REPLY_BACKEND_UNWILLING, 220},
        [STEP_EHLO] = {"EHLO", REPLY_BACKEND_UNWILLING, 250},
        [STEP_XCLIENT] = {"XCLIENT", REPLY_BACKEND_NO_IDENTITY, 0},
        [STEP_CLIENTS_HELLO] = {"the client's own greeting", REPLY_BACKEND_UNWILLING, 250},
    };
    unsigned wanted = steps[backend->step].code;
    if (wanted ? line->code == wanted : line->code / 100 == 2)
        return true;
    fail(backend, steps[backend->step].reply, "backend refused %s: %u %.*s",
         steps[backend->step].what, line->code, (int)line->text_length, line->text);
    return false;
}

static void take_reply(struct backend *backend, const struct smtp_reply_line *line)
{
    if (!accepted(backend, line))
        return;
    switch (backend->step) {
    case STEP_GREETING:
        if (backend->probe || backend->way->xclient)
            say_own_ehlo(backend);
        else
            say_clients_hello(backend);
        break;
    case STEP_EHLO:
        if (backend->probe)
            backend->step = STEP_READY;
        else
            begin_identity(backend);
        break;
    case STEP_XCLIENT:
        if (backend->xclient_sent < backend->xclient.count)
            say_xclient(backend);
        else
            say_clients_hello(backend);
        break;
    case STEP_CLIENTS_HELLO:
        backend->step = STEP_READY;
        break;
    case STEP_CONNECTING:
    case STEP_READY:
    case STEP_OVER:
        break;
    }
}

static void take_line(struct backend *backend, char *bytes, size_t length)
{
    struct smtp_reply_line line;
    smtp_reply_clean(bytes, length);
    enum smtp_reply_status status =
        smtp_reply_feed(&backend->reply_state, bytes, length, &line);
    if (status == SMTP_REPLY_BROKEN) {
        fail(backend, REPLY_BACKEND_CONFUSED, "backend does not speak SMTP: %.*s",
             (int)(length > 80 ? 80 : length), bytes);
        return;
    }
    bool ehlo = backend->step == STEP_EHLO || backend->step == STEP_CLIENTS_HELLO;
    if (ehlo && backend->reply_lines++ > 0 && line.code == 250)
        smtp_ehlo_learn(&backend->ehlo, line.text, line.text_length);
    if (status == SMTP_REPLY_DONE) {
        backend->reply_lines = 0;
        backend->reply_whole = true;
        take_reply(backend, &line);
    }
}

/* Behind a whole reply nothing else may stand: the backend speaks when it is spoken to. */
static void take_input(struct backend *backend)
{
    backend->reply_whole = false;
    while (backend->step != STEP_OVER && backend->input.length > 0) {
        char *start = buffer_bytes(&backend->input);
        char *end = memchr(start, '\n', backend->input.length);
        if (backend->reply_whole) {
            fail(backend, REPLY_BACKEND_CONFUSED, "backend spoke out of turn");
        } else if (end) {
            size_t length = (size_t)(end - start);
            take_line(backend, start, length > 0 && end[-1] == '\r' ? length - 1 : length);
            buffer_take(&backend->input, length + 1);
        } else {
            if (backend->input.length > SMTP_REPLY_LINE_LIMIT)
                fail(backend, REPLY_BACKEND_CONFUSED, "backend sent an over-long line");
            return;
        }
    }
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
        fail(backend, REPLY_BACKEND_CONFUSED, "backend sent too much before it was ready");
    else if (status == STREAM_OK)
        take_input(backend);
    else if (status == STREAM_EOF)
        fail(backend, REPLY_BACKEND_UNREACHABLE, "backend closed the connection");
    settle(backend);
}

static void on_stream(void *context, struct stream *stream, enum stream_event event)
{
    struct backend *backend = context;
    if (event == STREAM_READABLE) {
        read_input(backend);
    } else if (event == STREAM_FAILED) {
        fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
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

/* First for the connection, then, if there is one, for all the rest. */
static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct backend *backend = argument;
    if (backend->step == STEP_OVER) {
        settle(backend);
        return;
    }
    const struct config_timeouts *timeouts = &backend->service->config->timeouts;

    if (!is_connected(backend)) {
        fail(backend, REPLY_BACKEND_UNREACHABLE, "no connection to the backend in %u s",
             timeouts->backend_connect_ms / 1000);
    } else if (!backend->connected &&
               timeouts->backend_identity_ms > timeouts->backend_connect_ms) {
        backend->connected = true;
        set_timer(backend, timeouts->backend_identity_ms - timeouts->backend_connect_ms);
    } else {
        fail(backend, REPLY_BACKEND_SILENT, "backend was not ready in %u s",
             timeouts->backend_identity_ms / 1000);
    }
    settle(backend);
}

static void say_preamble(struct backend *backend)
{
    char preamble[IDENTITY_PREAMBLE_SIZE];
    size_t length;
    if (!identity_preamble(backend->way, backend->probe ? NULL : &backend->identity, preamble,
                           &length)) {
        fail(backend, REPLY_BACKEND_NO_IDENTITY,
             "the client's identity is too long for a PROXY header");
    } else if (length > 0) {
        stream_write(backend->stream, preamble, length);
        stream_flush(backend->stream);
    }
}

/* False: no memory, and the socket is closed. */
static bool use_socket(struct backend *backend, int fd)
{
    backend->step = STEP_GREETING;
    backend->stream = stream_new(backend->service->streams, fd, on_stream, backend);
    if (!backend->stream)
        return false;
    say_preamble(backend);
    return true;
}

static void on_opened(void *context, int descriptor, int error)
{
    struct backend *backend = context;
    backend->request = NULL;
    if (descriptor < 0)
        fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
             opener_error(error));
    else if (!use_socket(backend, descriptor))
        fail(backend, REPLY_BACKEND_UNREACHABLE, "out of memory");
    settle(backend);
}

static bool begin(struct backend *backend)
{
    int fd = backend_socket_open(backend->service, backend->config,
                                 backend->probe ? NULL : &backend->identity, on_opened, backend,
                                 &backend->request);
    return fd >= 0 ? use_socket(backend, fd) : backend->request != NULL;
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
    errno = 0;
    if (!begin(backend))
        fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
             strerrordesc_np(errno));
    if (backend->step == STEP_OVER)
        event_active(&backend->timer, EV_TIMEOUT, 0);
    else
        set_timer(backend, backend->service->config->timeouts.backend_connect_ms);
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
    free(backend);
}
