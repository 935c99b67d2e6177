/*
 * The engine of the load: opens sessions, drives each through the script's steps as the socket
 * allows, and replaces what ends until the number asked for is reached. load.c calls it. It
 * decides nothing about SMTP but where a reply ends and whether its code is the expected one.
 *
 *   CONNECTING -> HANDSHAKING -> TALKING -> CLOSING -> FREE
 *        \____________________^  |   ^        (or HELD, with hold)
 *          plain or STARTTLS     HANDSHAKING
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "transport.h"

enum {
    REPLY_LIMIT = 2048,
    EVENTS_AT_ONCE = 256,
    COMPLAINTS = 5,
    UNGREETED_LIMIT = 1000, /* below a listener's usual backlog: a SYN dropped costs a second */
};

enum session_state {
    SESSION_FREE,
    SESSION_CONNECTING,
    SESSION_HANDSHAKING,
    SESSION_TALKING,
    SESSION_CLOSING,
    SESSION_HELD,
};

struct session {
    struct transport transport;
    enum session_state state;
    bool ungreeted;
    size_t step;
    size_t sent; /* of the step's bytes */
    size_t reply_size;
    uint64_t started_ns;
    char reply[REPLY_LIMIT + 1]; /* and a NUL */
};

struct client {
    const struct client_options *options;
    struct client_totals totals;
    struct session *sessions;
    unsigned slots;
    unsigned launched, open, ungreeted, held;
    unsigned *free_slots;
    unsigned free_count;
    int epoll;
};

uint64_t client_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const struct client_totals *client_totals(const struct client *client)
{
    return &client->totals;
}

struct client *client_new(const struct client_options *options)
{
    struct client *client = calloc(1, sizeof(*client));

    if (!client)
        return NULL;
    client->options = options;
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    client->slots = options->hold || options->concurrency > options->sessions
                        ? options->sessions
                        : options->concurrency;
    client->sessions = calloc(client->slots, sizeof(*client->sessions));
    client->free_slots = calloc(client->slots, sizeof(*client->free_slots));
    client->totals.latencies_ns = calloc(options->sessions, sizeof(uint64_t));
    if (client->epoll < 0 || !client->sessions || !client->free_slots ||
        !client->totals.latencies_ns) {
        perror("load");
        client_free(client);
        return NULL;
    }
    while (client->free_count < client->slots) {
        client->free_slots[client->free_count] = client->slots - 1 - client->free_count;
        client->free_count++;
    }
    return client;
}

void client_free(struct client *client)
{
    for (unsigned slot = 0; client->sessions && slot < client->slots; slot++) {
        struct session *session = &client->sessions[slot];
        if (session->state != SESSION_FREE)
            transport_close(&session->transport);
        SSL_SESSION_free(session->transport.ticket);
    }
    if (client->epoll >= 0)
        close(client->epoll);
    free(client->sessions);
    free(client->free_slots);
    free(client->totals.latencies_ns);
    free(client);
}

static void session_greeted(struct client *client, struct session *session)
{
    client->ungreeted -= session->ungreeted;
    session->ungreeted = false;
}

static void session_release(struct client *client, struct session *session)
{
    session_greeted(client, session);
    transport_close(&session->transport);
    session->state = SESSION_FREE;
    client->open--;
    client->free_slots[client->free_count++] = (unsigned)(session - client->sessions);
}

static const char *step_name(const struct client *client, const struct session *session)
{
    const struct script *script = client->options->script;

    if (session->state == SESSION_CONNECTING)
        return "connect";
    if (session->state == SESSION_HANDSHAKING)
        return "the TLS handshake";
    return session->step < script->count ? script->steps[session->step].name : "the close";
}

static void session_fail(struct client *client, struct session *session, const char *what)
{
    if (client->totals.failed++ < COMPLAINTS)
        fprintf(stderr, "load: %s: %s%s%.*s\n", step_name(client, session), what,
                session->reply_size ? ": " : "", (int)strcspn(session->reply, "\r\n"),
                session->reply);
    session_release(client, session);
}

/* The length of the reply that is whole in the buffer, or 0. */
static size_t reply_length(const char *text, size_t size)
{
    size_t start = 0;

    for (;;) {
        const char *end = memchr(text + start, '\n', size - start);
        if (!end)
            return 0;
        size_t next = (size_t)(end - text) + 1;
        if (next - start < 4 || text[start + 3] != '-')
            return next;
        start = next;
    }
}

static bool session_start_tls(const struct client *client, struct session *session)
{
    session->state = SESSION_HANDSHAKING;
    return transport_secure(&session->transport, client->options->tls);
}

/* The script is done: what was asked of the session has been answered. */
static void session_complete(struct client *client, struct session *session)
{
    client->totals.latencies_ns[client->totals.ok++] = client_now_ns() - session->started_ns;
    client->totals.resumed += transport_resumed(&session->transport);
    if (client->options->hold) {
        session->state = SESSION_HELD;
        client->held++;
        return;
    }
    session->state = SESSION_CLOSING;
    transport_finish(&session->transport);
}

/* Judges the reply to the step in hand and goes on to the next. False if it was wrong. */
static bool session_take_reply(struct client *client, struct session *session, size_t length)
{
    const struct script_step *step = &client->options->script->steps[session->step];

    if (length != session->reply_size || atoi(session->reply) != step->expect)
        return false;
    session_greeted(client, session);
    session->reply_size = 0;
    session->reply[0] = '\0';
    session->sent = 0;
    session->step++;
    if (step->then_tls)
        return session_start_tls(client, session);
    if (session->step == client->options->script->count)
        session_complete(client, session);
    return true;
}

static enum transport_status session_send(struct client *client, struct session *session)
{
    const struct script_step *step = &client->options->script->steps[session->step];
    enum transport_status status = TRANSPORT_DONE;

    while (status == TRANSPORT_DONE && session->sent < step->size) {
        size_t moved;
        status = transport_write(&session->transport, step->send + session->sent,
                                 step->size - session->sent, &moved);
        session->sent += moved;
    }
    return status;
}

static enum transport_status session_receive(struct client *client, struct session *session)
{
    size_t moved, length;
    enum transport_status status =
        transport_read(&session->transport, session->reply + session->reply_size,
                       REPLY_LIMIT - session->reply_size, &moved);

    if (status != TRANSPORT_DONE)
        return status;
    session->reply_size += moved;
    session->reply[session->reply_size] = '\0';
    length = reply_length(session->reply, session->reply_size);
    if (length == 0)
        return session->reply_size < REPLY_LIMIT ? TRANSPORT_DONE : TRANSPORT_FAILED;
    return session_take_reply(client, session, length) ? TRANSPORT_DONE : TRANSPORT_FAILED;
}

static enum transport_status session_connect(struct client *client, struct session *session)
{
    if (!transport_connected(&session->transport))
        return TRANSPORT_FAILED;
    session->state = SESSION_TALKING;
    if (client->options->implicit && !session_start_tls(client, session))
        return TRANSPORT_FAILED;
    return TRANSPORT_DONE;
}

static enum transport_status session_shake_hands(struct client *client, struct session *session)
{
    enum transport_status status = transport_handshake(&session->transport);

    if (status == TRANSPORT_DONE) {
        client->totals.handshaken++;
        session->state = SESSION_TALKING;
    }
    return status;
}

static enum transport_status session_talk(struct client *client, struct session *session)
{
    enum transport_status status = session_send(client, session);

    return status == TRANSPORT_FAILED ? status : session_receive(client, session);
}

static enum transport_status session_advance(struct client *client, struct session *session)
{
    switch (session->state) {
    case SESSION_CONNECTING:
        return session_connect(client, session);
    case SESSION_HANDSHAKING:
        return session_shake_hands(client, session);
    case SESSION_TALKING:
        return session_talk(client, session);
    case SESSION_CLOSING:
        return transport_await_close(&session->transport);
    case SESSION_FREE:
    case SESSION_HELD:
        break;
    }
    return TRANSPORT_AGAIN;
}

static void session_event(struct client *client, struct session *session)
{
    enum transport_status status;

    do
        status = session_advance(client, session);
    while (status == TRANSPORT_DONE);
    if (status == TRANSPORT_AGAIN)
        return;
    if (session->state == SESSION_CLOSING)
        session_release(client, session);
    else
        session_fail(client, session,
                     status == TRANSPORT_CLOSED ? "closed by the server"
                     : session->reply_size      ? "unexpected reply"
                                                : strerror(errno));
}

static void client_open_one(struct client *client)
{
    const struct client_options *options = client->options;
    struct session *session = &client->sessions[client->free_slots[--client->free_count]];
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = session};

    client->launched++;
    session->started_ns = client_now_ns();
    session->step = session->sent = session->reply_size = 0;
    session->reply[0] = '\0';
    if (!transport_open(&session->transport, (const struct sockaddr *)&options->address,
                        options->address_size)) {
        if (client->totals.failed++ < COMPLAINTS)
            perror("load: connect");
        client->free_slots[client->free_count++] = (unsigned)(session - client->sessions);
        return;
    }
    session->state = SESSION_CONNECTING;
    session->ungreeted = true;
    client->ungreeted++;
    if (++client->open > client->totals.peak)
        client->totals.peak = client->open;
    if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, session->transport.fd, &event) != 0)
        session_fail(client, session, strerror(errno));
}

static bool client_gave_up(const struct client *client)
{
    return client->totals.failed >= client->options->failure_limit;
}

static void client_open_more(struct client *client)
{
    while (client->launched < client->options->sessions && client->free_count > 0 &&
           client->open - client->held < client->options->concurrency &&
           client->ungreeted < UNGREETED_LIMIT && !client_gave_up(client))
        client_open_one(client);
}

static void client_end_all(struct client *client)
{
    for (unsigned slot = 0; slot < client->slots; slot++) {
        struct session *session = &client->sessions[slot];
        if (session->state == SESSION_CLOSING)
            session_release(client, session);
        else if (session->state != SESSION_FREE && session->state != SESSION_HELD)
            session_fail(client, session, "not done in time");
    }
}

void client_run(struct client *client)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t start = client_now_ns(), now = start;

    client_open_more(client);
    while (client->open > client->held && now < client->options->deadline_ns &&
           !client_gave_up(client)) {
        int left_ms = (int)((client->options->deadline_ns - now) / 1000000u) + 1;
        int count = epoll_wait(client->epoll, events, EVENTS_AT_ONCE, left_ms);
        for (int at = 0; at < count; at++)
            session_event(client, events[at].data.ptr);
        client_open_more(client);
        now = client_now_ns();
    }
    client_end_all(client);
    client->totals.wall_ns = client_now_ns() - start;
}

unsigned client_count_lost(struct client *client)
{
    unsigned lost = 0;

    for (unsigned slot = 0; slot < client->slots; slot++) {
        struct session *session = &client->sessions[slot];
        if (session->state == SESSION_HELD)
            lost += transport_await_close(&session->transport) != TRANSPORT_AGAIN;
    }
    return lost;
}
