/*
 * For the tests of the pool: an event base with a pool on it, clients that note what they are
 * told, and the workers' ends of the sockets, which the test serves by hand.
 */
#ifndef POSTERN_TEST_POOL_WORLD_H
#define POSTERN_TEST_POOL_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/pool.h"
#include "proxy/base/clock.h"

#define WORKERS    4
#define FOREVER_MS 60000
#define SHORT_MS   200
#define PATIENCE_S 20

struct world {
    struct event_base *base;
    struct auth_pool *pool;
    int worker[WORKERS]; /* our ends; -1: none */
    unsigned faults, fault_slot;
    enum auth_pool_loss loss;
    char fault_reason[64];
    unsigned ticks; /* timers of pass_time() that have run out */
    bool late;
};

struct client {
    struct auth_request *request;
    unsigned calls;
    struct auth_message_verdict verdict;
    uint64_t elapsed_ms, due_ms;
    unsigned judgement;
    void (*then)(void *context); /* what the callback does besides */
    void *then_context;
};

static inline struct auth_client client_at(const struct address *address)
{
    return (struct auth_client){.address = address};
}

static inline void on_fault(void *context, unsigned slot, enum auth_pool_loss loss,
                            const char *reason)
{
    struct world *world = context;
    world->loss = loss;
    world->faults++;
    world->fault_slot = slot;
    snprintf(world->fault_reason, sizeof world->fault_reason, "%s", reason);
}

static inline void on_verdict(void *context, const struct auth_outcome *outcome)
{
    struct client *client = context;
    client->calls++;
    client->request = NULL;
    client->verdict = *outcome->verdict;
    client->elapsed_ms = outcome->elapsed_ms;
    client->due_ms = outcome->due_ms;
    client->judgement = outcome->judgement;
    if (client->then)
        client->then(client->then_context);
}

/* Gives the slot a worker, in place of the one it may have. */
static inline void hire(struct world *world, unsigned slot)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    if (world->worker[slot] >= 0)
        close(world->worker[slot]);
    world->worker[slot] = pair[1];
    auth_pool_attach(world->pool, slot, pair[0]);
}

static inline void dismiss(struct world *world, unsigned slot)
{
    close(world->worker[slot]);
    world->worker[slot] = -1;
}

static inline void open_world(struct world *world, unsigned workers,
                              struct auth_pool_options options)
{
    memset(world, 0, sizeof *world);
    memset(world->worker, -1, sizeof world->worker);
    world->base = event_base_new();
    options.workers = workers;
    options.fault = on_fault;
    options.fault_context = world;
    if (options.queue_limit == 0)
        options.queue_limit = 100;
    if (options.timeout_ms == 0)
        options.timeout_ms = FOREVER_MS;
    world->pool = auth_pool_new(world->base, &options);
    assert_non_null(world->pool);
    for (unsigned i = 0; i < workers; i++)
        hire(world, i);
}

static inline void close_world(struct world *world)
{
    auth_pool_free(world->pool);
    event_base_free(world->base);
    for (unsigned i = 0; i < WORKERS; i++)
        if (world->worker[i] >= 0)
            close(world->worker[i]);
}

static inline struct address address_of(const char *text)
{
    struct address address;
    const char *why;
    assert_true(address_parse(text, &address, &why));
    return address;
}

static inline void ask(struct world *world, struct client *client, const char *user,
                       const char *from)
{
    struct address address = address_of(from);
    memset(client, 0, sizeof *client);
    client->request =
        auth_pool_submit(world->pool, user, "secret", client_at(&address), on_verdict, client);
    assert_non_null(client->request);
    assert_int_equal(client->calls, 0);
}

/* Everything that can happen without waiting. */
static inline void settle(struct world *world)
{
    event_base_loop(world->base, EVLOOP_NONBLOCK);
    event_base_loop(world->base, EVLOOP_NONBLOCK);
}

static inline void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct world *world = context;
    (void)fd;
    (void)what;
    world->ticks++;
}

static inline void on_late(evutil_socket_t fd, short what, void *context)
{
    struct world *world = context;
    (void)fd;
    (void)what;
    world->late = true;
}

/* Runs the loop until the counter has come to `target`. */
static inline void wait_until(struct world *world, const unsigned *counter, unsigned target)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct event *late = evtimer_new(world->base, on_late, world);
    event_add(late, &patience);
    while (*counter < target && !world->late)
        event_base_loop(world->base, EVLOOP_ONCE);
    event_free(late);
    assert_false(world->late);
}

/* Lets the pool live through this time. */
static inline void pass_time(struct world *world, int ms)
{
    const struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_base_once(world->base, -1, EV_TIMEOUT, on_tick, world, &time);
    wait_until(world, &world->ticks, world->ticks + 1);
}

static inline bool received(struct world *world, unsigned slot,
                            struct auth_message_request *request)
{
    char bytes[AUTH_MESSAGE_LIMIT];
    settle(world);
    ssize_t length = recv(world->worker[slot], bytes, sizeof bytes, MSG_DONTWAIT);
    bool whole = length > 0 && auth_message_read_request(bytes, (size_t)length, request);
    explicit_bzero(bytes, sizeof bytes);
    return whole;
}

/* Receives a request that must be there, for this user. Returns its id. */
static inline uint64_t receive(struct world *world, unsigned slot, const char *user)
{
    struct auth_message_request request;
    assert_true(received(world, slot, &request));
    assert_string_equal(request.user, user);
    explicit_bzero(request.password, sizeof request.password);
    return request.id;
}

static inline void assert_nothing_for(struct world *world, unsigned slot)
{
    struct auth_message_request request;
    assert_false(received(world, slot, &request));
}

static inline void say(struct world *world, unsigned slot, const void *bytes, size_t length)
{
    assert_int_equal(send(world->worker[slot], bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL),
                     length);
    settle(world);
}

static inline void accept_login(struct world *world, unsigned slot, uint64_t id)
{
    struct auth_message_verdict verdict = {.id = id, .result = AUTH_ACCEPTED, .delay_ms = 5};
    char bytes[AUTH_MESSAGE_LIMIT];
    strcpy(verdict.login, "final");
    say(world, slot, bytes, auth_message_write_verdict(&verdict, bytes));
}

/* The same, by a worker that is spoiled from now on. */
static inline void accept_last_login(struct world *world, unsigned slot, uint64_t id)
{
    struct auth_message_verdict verdict = {.id = id, .result = AUTH_ACCEPTED, .is_last = true};
    char bytes[AUTH_MESSAGE_LIMIT];
    strcpy(verdict.login, "final");
    say(world, slot, bytes, auth_message_write_verdict(&verdict, bytes));
}

/* The worker receives a request for this user, and is spoiled before it can decide it. */
static inline void give_back(struct world *world, unsigned slot, const char *user)
{
    struct auth_message_verdict verdict = {.result = AUTH_UNAVAILABLE, .is_last = true};
    char bytes[AUTH_MESSAGE_LIMIT];
    verdict.id = receive(world, slot, user);
    say(world, slot, bytes, auth_message_write_verdict(&verdict, bytes));
}

static inline void assert_unavailable(const struct client *client, const char *reason)
{
    assert_int_equal(client->calls, 1);
    assert_int_equal(client->verdict.result, AUTH_UNAVAILABLE);
    assert_string_equal(client->verdict.reason, reason);
    assert_string_equal(client->verdict.login, "");
}

struct meddling {
    struct world *world;
    struct client *victim, *fresh;
};

static inline void cancel_one_and_ask_anew(void *context)
{
    struct meddling *meddling = context;
    auth_request_cancel(meddling->victim->request);
    ask(meddling->world, meddling->fresh, "fresh", "192.0.2.3:1");
}

#endif
