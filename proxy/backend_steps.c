/*
 * What is said while a session is opened at a backend, one reply after another. Called by
 * backend.c with what has been read. What the backend says is hostile: lines and replies are
 * bounded, and a word out of turn ends it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/backend_internal.h"
#include "proxy/service.h"
#include "proxy/smtp/command.h"

static void say_hello(struct backend *backend, const char *verb, const char *name)
{
    char line[SMTP_DOMAIN_LIMIT + 16];
    int length = snprintf(line, sizeof line, "%s %s\r\n", verb, name);
    if (length < 0 || (size_t)length >= sizeof line) {
        backend_fail(backend, REPLY_BACKEND_NO_IDENTITY, "the name for EHLO is too long");
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

/* What we add to MAIL is a parameter, which some servers take after EHLO only. */
static const char *clients_verb(const struct backend *backend)
{
    return backend->identity.esmtp || backend->way->auth_param ? "EHLO" : "HELO";
}

static void say_hello_by_address(struct backend *backend)
{
    char host[ADDRESS_HOST_SIZE], literal[ADDRESS_HOST_SIZE + 8];
    const struct identity *identity = &backend->identity;
    backend->by_address = true;
    address_host(identity->client, host);
    snprintf(literal, sizeof literal, "[%s%s]", strchr(host, ':') ? "IPv6:" : "", host);
    say_hello(backend, clients_verb(backend), literal);
}

static void say_clients_hello(struct backend *backend)
{
    const struct identity *identity = &backend->identity;
    backend->step = STEP_CLIENTS_HELLO;
    if (identity->helo)
        say_hello(backend, clients_verb(backend), identity->helo);
    else
        say_hello_by_address(backend);
}

/* A name that is no domain to the backend ("my_pc") must not keep anybody out: the client's
 * address stands for it (RFC 5321 section 4.1.4). */
static bool introduced_by_address(struct backend *backend, const struct smtp_reply_line *line)
{
    if (backend->step != STEP_CLIENTS_HELLO || line->code != 501 || backend->by_address)
        return false;
    say_hello_by_address(backend);
    return true;
}

static void say_xclient(struct backend *backend)
{
    unsigned index = backend->xclient_sent++;
    backend->step = STEP_XCLIENT;
    stream_write(backend->stream, backend->xclient.text[index], backend->xclient.length[index]);
    stream_flush(backend->stream);
}

/* Is TLS asked for by a command, and not there yet? */
static bool wants_starttls(const struct backend *backend)
{
    return backend->config->tls == CONFIG_BACKEND_TLS_STARTTLS &&
           !stream_is_secure(backend->stream);
}

static void say_starttls(struct backend *backend)
{
    static const char starttls[] = "STARTTLS\r\n";
    if (!backend->ehlo.starttls) {
        backend_fail(backend, REPLY_BACKEND_UNWILLING, "backend does not offer STARTTLS");
        return;
    }
    backend->step = STEP_STARTTLS;
    stream_write(backend->stream, starttls, sizeof starttls - 1);
    stream_flush(backend->stream);
}

/* Our own EHLO is needed only where its reply decides what comes next. */
static void greet(struct backend *backend)
{
    if (backend->probe || backend->way->xclient || wants_starttls(backend))
        say_own_ehlo(backend);
    else
        say_clients_hello(backend);
}

void backend_secured(struct backend *backend)
{
    stream_flush(backend->stream);
    if (backend->config->tls == CONFIG_BACKEND_TLS_IMPLICIT)
        backend->step = STEP_GREETING;
    else
        greet(backend);
}

static void begin_identity(struct backend *backend)
{
    char cause[IDENTITY_CAUSE_SIZE];
    if (identity_xclient(&backend->identity, backend->config, &backend->ehlo, &backend->xclient,
                         cause))
        say_xclient(backend);
    else
        backend_fail(backend, REPLY_BACKEND_NO_IDENTITY, "%s", cause);
}

/*
 * Does this reply refuse the session, so that it is for the client to hear (threat 39)? It does
 * not if it is about what Postern itself has asked for: TLS, a command that is not understood
 * (RFC 5321 section 4.2.2: 500 to 504), and XCLIENT from a host that may not say it (550).
 */
static bool refuses_session(enum backend_step step, unsigned code)
{
    bool not_understood = code >= 500 && code <= 504;
    if (code < 400)
        return false;
    switch (step) {
    case STEP_GREETING:
    case STEP_CLIENTS_HELLO:
        return true;
    case STEP_EHLO:
        return !not_understood;
    case STEP_XCLIENT:
        return !not_understood && code != 550;
    default:
        return false;
    }
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
        [STEP_STARTTLS] = {"STARTTLS", REPLY_BACKEND_UNWILLING, 220},
        [STEP_XCLIENT] = {"XCLIENT", REPLY_BACKEND_NO_IDENTITY, 0},
        [STEP_CLIENTS_HELLO] = {"the client's own greeting", REPLY_BACKEND_UNWILLING, 250},
    };
    unsigned wanted = steps[backend->step].code;
    if (wanted ? line->code == wanted : line->code / 100 == 2)
        return true;
    backend->is_refused = refuses_session(backend->step, line->code);
    backend_fail(backend, steps[backend->step].reply, "backend refused %s: %u %.*s",
                 steps[backend->step].what, line->code, (int)line->text_length, line->text);
    return false;
}

static void take_reply(struct backend *backend, const struct smtp_reply_line *line)
{
    if (introduced_by_address(backend, line) || !accepted(backend, line))
        return;
    switch (backend->step) {
    case STEP_GREETING:
        greet(backend);
        break;
    case STEP_EHLO:
        if (wants_starttls(backend))
            say_starttls(backend);
        else if (backend->probe)
            backend->step = STEP_READY;
        else
            begin_identity(backend);
        break;
    case STEP_STARTTLS:
        backend_secure(backend);
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
    case STEP_HANDSHAKE:
    case STEP_READY:
    case STEP_OVER:
        break;
    }
}

/* Without memory for it the client hears less. */
static void keep_refusal(struct backend *backend, const struct smtp_reply_line *line,
                         bool is_first)
{
    if (line->code < 400)
        return;
    if (!backend->refusal)
        backend->refusal = calloc(1, sizeof *backend->refusal);
    else if (is_first)
        backend->refusal->length = 0;
    if (backend->refusal)
        smtp_reply_text_add(backend->refusal, line);
}

static void take_line(struct backend *backend, char *bytes, size_t length)
{
    struct smtp_reply_line line;
    bool is_first = backend->reply_state.code == 0;
    smtp_reply_clean(bytes, length);
    enum smtp_reply_status status =
        smtp_reply_feed(&backend->reply_state, bytes, length, &line);
    if (status == SMTP_REPLY_BROKEN) {
        backend_fail(backend, REPLY_BACKEND_CONFUSED, "backend does not speak SMTP: %.*s",
                     (int)(length > 80 ? 80 : length), bytes);
        return;
    }
    keep_refusal(backend, &line, is_first);
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
void backend_take_input(struct backend *backend)
{
    backend->reply_whole = false;
    while (backend->step != STEP_OVER && backend->input.length > 0) {
        char *start = buffer_bytes(&backend->input);
        char *end = memchr(start, '\n', backend->input.length);
        if (backend->reply_whole) {
            backend_fail(backend, REPLY_BACKEND_CONFUSED, "backend spoke out of turn");
        } else if (end) {
            size_t length = (size_t)(end - start);
            take_line(backend, start, length > 0 && end[-1] == '\r' ? length - 1 : length);
            buffer_take(&backend->input, length + 1);
            if (backend->step == STEP_HANDSHAKE) /* threat 3 */
                buffer_release(&backend->input);
        } else {
            if (backend->input.length > SMTP_REPLY_LINE_LIMIT)
                backend_fail(backend, REPLY_BACKEND_CONFUSED, "backend sent an over-long line");
            return;
        }
    }
}
