/*
 * The opening of a session at the backend. Owned by a session (handover.c) or by the offer's
 * probe; gives the stream away when it is ready for the client. What the backend says is
 * hostile: lines and replies are bounded, and a word out of turn ends it.
 */
#include "proxy/backend.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/buffer.h"
#include "proxy/control_client.h"
#include "proxy/offer.h"
#include "proxy/service.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/reply.h"
#include "proxy/smtp/xclient.h"

/* All that a backend may say until it is ready. */
#define OPENING_LIMIT_BYTES (64 * 1024)
#define CAUSE_SIZE          256
#define PORT_TEXT_SIZE      6

enum backend_step {
    STEP_CONNECTING, /* to a unix socket, by the master */
    STEP_GREETING,
    STEP_EHLO,
    STEP_XCLIENT,
    STEP_EHLO_AGAIN,
    STEP_READY,
    STEP_OVER, /* failed; the callback is due */
};

struct backend {
    struct service *service;
    backend_callback *callback;
    void *context;
    struct stream *stream;
    struct control_request *request;
    struct backend_identity identity; /* no login: a probe */
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

static bool is_probe(const struct backend *backend)
{
    return !backend->identity.login;
}

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

static void say_ehlo(struct backend *backend, enum backend_step step, const char *name)
{
    char line[SMTP_DOMAIN_LIMIT + 16];
    int length = snprintf(line, sizeof line, "EHLO %s\r\n", name);
    if (length < 0 || (size_t)length >= sizeof line) {
        fail(backend, REPLY_BACKEND_NO_IDENTITY, "the name for EHLO is too long");
        return;
    }
    backend->step = step;
    memset(&backend->ehlo, 0, sizeof backend->ehlo);
    stream_write(backend->stream, line, (size_t)length);
    stream_flush(backend->stream);
}

/* XCLIENT's form of an address: "IPV6:" before IPv6, nothing for a unix socket. */
static void xclient_address(const struct address *address,
                            char out[static ADDRESS_HOST_SIZE + 5],
                            char port[static PORT_TEXT_SIZE])
{
    out[0] = port[0] = '\0';
    if (address->any.sa_family == AF_UNIX || address->length == 0)
        return;
    char *host = out;
    if (address->any.sa_family == AF_INET6)
        host = stpcpy(out, "IPV6:");
    address_host(address, host);
    snprintf(port, PORT_TEXT_SIZE, "%u", (unsigned)address_port(address));
}

static bool write_xclient(struct backend *backend)
{
    const struct backend_identity *identity = &backend->identity;
    char client[ADDRESS_HOST_SIZE + 5], local[ADDRESS_HOST_SIZE + 5];
    char client_port[PORT_TEXT_SIZE], local_port[PORT_TEXT_SIZE];
    xclient_address(identity->client, client, client_port);
    xclient_address(identity->local, local, local_port);

    struct smtp_xclient_identity values = {{
        [SMTP_XCLIENT_ADDR] = client,
        [SMTP_XCLIENT_PORT] = client_port,
        [SMTP_XCLIENT_DESTADDR] = local,
        [SMTP_XCLIENT_DESTPORT] = local_port,
        [SMTP_XCLIENT_PROTO] = "ESMTP",
        [SMTP_XCLIENT_HELO] = identity->helo,
        [SMTP_XCLIENT_LOGIN] = identity->login,
    }};
    return smtp_xclient_format(&values, backend->ehlo.xclient,
                               backend->service->config->backends[0].required, &backend->xclient);
}

static void say_xclient(struct backend *backend)
{
    unsigned index = backend->xclient_sent++;
    backend->step = STEP_XCLIENT;
    stream_write(backend->stream, backend->xclient.text[index], backend->xclient.length[index]);
    stream_flush(backend->stream);
}

static void name_missing(uint32_t missing, char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < SMTP_XCLIENT_COUNT && length < size; i++)
        if (missing & (1u << i))
            length += (size_t)snprintf(out + length, size - length, " %s",
                                       smtp_xclient_name((enum smtp_xclient_attribute)i));
}

static void begin_identity(struct backend *backend)
{
    uint32_t missing = backend->service->config->backends[0].required & ~backend->ehlo.xclient;
    char names[80];

    if (backend->ehlo.xclient == 0) {
        fail(backend, REPLY_BACKEND_NO_IDENTITY, "backend does not offer XCLIENT");
    } else if (missing) {
        name_missing(missing, names, sizeof names);
        fail(backend, REPLY_BACKEND_NO_IDENTITY, "backend does not offer XCLIENT%s", names);
    } else if (!write_xclient(backend)) {
        fail(backend, REPLY_BACKEND_NO_IDENTITY,
             "the client's identity is too long to be told whole");
    } else {
        say_xclient(backend);
    }
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
    offer_learn(backend->service->offer, &backend->ehlo);
    finish(backend, &(struct backend_result){.stream = stream, .ehlo = &backend->ehlo});
}

/* At the end of an event: calls back if there is something to tell. The backend may be gone. */
static void settle(struct backend *backend)
{
    if (backend->step == STEP_OVER)
        finish(backend,
               &(struct backend_result){.reply = backend->reply, .cause = backend->cause});
    else if (backend->step == STEP_READY && is_probe(backend))
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
        [STEP_EHLO_AGAIN] = {"the client's EHLO", REPLY_BACKEND_UNWILLING, 250},
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
        say_ehlo(backend, STEP_EHLO, backend->service->config->hostname);
        break;
    case STEP_EHLO:
        if (is_probe(backend))
            backend->step = STEP_READY;
        else
            begin_identity(backend);
        break;
    case STEP_XCLIENT:
        if (backend->xclient_sent < backend->xclient.count)
            say_xclient(backend);
        else
            say_ehlo(backend, STEP_EHLO_AGAIN, backend->identity.helo);
        break;
    case STEP_EHLO_AGAIN:
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
    bool ehlo = backend->step == STEP_EHLO || backend->step == STEP_EHLO_AGAIN;
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

static bool use_socket(struct backend *backend, int fd)
{
    backend->step = STEP_GREETING;
    backend->stream = stream_new(backend->service->streams, fd, on_stream, backend);
    return backend->stream != NULL;
}

static void on_opened(void *context, int descriptor, int error)
{
    struct backend *backend = context;
    backend->request = NULL;
    if (descriptor < 0)
        fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
             strerrordesc_np(error));
    else if (!use_socket(backend, descriptor))
        fail(backend, REPLY_BACKEND_UNREACHABLE, "out of memory");
    settle(backend);
}

/* Small commands must not wait for acknowledgements of earlier ones, so no Nagle. */
static bool connect_tcp(struct backend *backend, const struct address *address)
{
    static const int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, &address->any, address->length) < 0 && errno != EINPROGRESS) {
        close(fd);
        return false;
    }
    return use_socket(backend, fd);
}

static bool begin(struct backend *backend)
{
    const struct address *address = &backend->service->config->backends[0].address;
    if (address->any.sa_family != AF_UNIX)
        return connect_tcp(backend, address);
    backend->request =
        control_client_open_backend(backend->service->control, on_opened, backend);
    return backend->request != NULL;
}

struct backend *backend_open(struct service *service, const struct backend_identity *identity,
                             backend_callback *callback, void *context)
{
    struct backend *backend = calloc(1, sizeof *backend);
    if (!backend)
        return NULL;
    backend->service = service;
    backend->callback = callback;
    backend->context = context;
    if (identity)
        backend->identity = *identity;
    evtimer_assign(&backend->timer, service->base, on_timer, backend);

    errno = 0;
    if (!begin(backend)) {
        fail(backend, REPLY_BACKEND_UNREACHABLE, "cannot reach the backend: %s",
             strerrordesc_np(errno));
        event_active(&backend->timer, EV_TIMEOUT, 0);
        return backend;
    }
    set_timer(backend, service->config->timeouts.backend_connect_ms);
    return backend;
}

void backend_cancel(struct backend *backend)
{
    if (!backend)
        return;
    event_del(&backend->timer);
    control_request_cancel(backend->request);
    stream_free(backend->stream);
    buffer_release(&backend->input);
    free(backend);
}
