/*
 * The reactor's side of authentication: which request goes to which worker, as one datagram
 * each, and what becomes of workers. The master's messages bring new sockets. It never blocks
 * and never trusts a worker; request.c has a request's own life.
 */
#include "auth/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/pool_internal.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"

static const char spoiled[] = "a PAM module has spoiled it";

void pool_wake_dispatch(struct auth_pool *pool)
{
    event_active(pool->dispatch, 0, 0);
}

/* Frees the slot for another request; what it was busy with (perhaps NULL) is the caller's. */
static struct auth_request *slot_release(struct slot *slot)
{
    struct auth_request *request = slot->request;

    slot->request = NULL;
    if (request)
        request->is_with_worker = false;
    event_remove_timer(slot->event);
    pool_wake_dispatch(slot->pool);
    return request;
}

static void slot_close(struct slot *slot)
{
    close(event_get_fd(slot->event));
    event_free(slot->event);
    slot->event = NULL;
}

/* Asks the owner for another worker; the slot is closed. */
static void slot_report(const struct slot *slot, enum auth_pool_loss loss, const char *reason)
{
    const struct auth_pool_options *options = &slot->pool->options;
    options->fault(options->fault_context, (unsigned)(slot - slot->pool->slots), loss, reason);
}

/* The latest logins count most. */
static void note_time(struct auth_pool *pool, uint64_t taken_ms)
{
    pool->usual_ms = (7 * pool->usual_ms + taken_ms) / 8;
}

/* Asks the owner for another worker, which gets the slot's request. `why` is the cause of a
 * request that is not asked again. */
static void slot_lose(struct slot *slot, enum auth_pool_loss loss, const char *reason,
                      const char *why)
{
    struct auth_request *request = slot_release(slot);

    slot_close(slot);
    if (request)
        request_ask_again(request, why);
    slot_report(slot, loss, reason);
}

static void slot_fault(struct slot *slot, const char *reason)
{
    slot_lose(slot, AUTH_WORKER_LOST, reason, reason);
}

/* The client's time is over as well: nobody else is asked. */
static void slot_is_late(struct slot *slot)
{
    struct auth_request *request = slot_release(slot);

    note_time(slot->pool, clock_now_ms() - request->asked_ms);
    slot_close(slot);
    request_give_up(request, "no verdict in time");
    slot_report(slot, AUTH_WORKER_LOST, "no verdict in time");
}

/* Called when the worker says that it could not decide and takes no more requests. */
static void slot_is_spoiled(struct slot *slot)
{
    slot_lose(slot, AUTH_WORKER_SPOILED, spoiled, "a PAM module has spoiled the auth worker");
}

static void slot_take_verdict(struct slot *slot, const struct auth_message_verdict *verdict)
{
    struct auth_request *request = slot_release(slot);
    unsigned limit = slot->pool->options.logins_per_worker;
    bool is_spent = ++slot->decided >= limit && limit > 0;

    note_time(slot->pool, clock_now_ms() - request->asked_ms);
    if (verdict->is_last || is_spent)
        slot_close(slot);
    request_decide(request, verdict);
    if (verdict->is_last) {
        slot_report(slot, AUTH_WORKER_SPOILED, spoiled);
    } else if (is_spent) {
        char reason[64];
        snprintf(reason, sizeof reason, "it has decided %u logins", limit);
        slot_report(slot, AUTH_WORKER_SPENT, reason);
    }
}

static void slot_take_answer(struct slot *slot, const char *bytes, size_t length)
{
    struct auth_message_verdict verdict;

    if (!slot->request)
        slot_fault(slot, "it spoke without being asked");
    else if (length > AUTH_MESSAGE_LIMIT || !auth_message_read_verdict(bytes, length, &verdict))
        slot_fault(slot, "malformed verdict");
    else if (verdict.id != slot->request->id)
        slot_fault(slot, "verdict on another request");
    else if (verdict.is_last && verdict.result == AUTH_UNAVAILABLE)
        slot_is_spoiled(slot);
    else
        slot_take_verdict(slot, &verdict);
}

/* The worker has spoken or gone. */
static void slot_read(struct slot *slot)
{
    char bytes[AUTH_MESSAGE_LIMIT];
    ssize_t length =
        recv(event_get_fd(slot->event), bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);
    if (length > 0)
        slot_take_answer(slot, bytes, (size_t)length);
    else if (length == 0 || (errno != EAGAIN && errno != EINTR))
        slot_fault(slot, "the worker has gone");
}

/* The worker has spoken or gone, or (a timeout is set while it is busy) it is past its time. */
static void on_slot(evutil_socket_t socket, short what, void *context)
{
    struct slot *slot = context;
    (void)socket;

    if (what & EV_READ) {
        slot_read(slot);
        return;
    }
    slot_is_late(slot);
}

void auth_pool_worker_ended(struct auth_pool *pool, unsigned number)
{
    if (number >= pool->options.workers)
        return;
    struct slot *slot = &pool->slots[number];
    if (slot->event)
        slot_read(slot);
    if (slot->event)
        slot_fault(slot, "the worker has gone");
}

void auth_pool_keep_workers(struct auth_pool *pool)
{
    pool->options.logins_per_worker = 0;
}

/* What counts for the share of an address: requests that a worker has, or had and did not
 * decide, and what is held after that. */
static unsigned share_taken(const struct auth_pool *pool, const struct address_key *client)
{
    const struct auth_request *request;
    unsigned taken = 0;
    for (unsigned i = 0; i < pool->options.workers; i++)
        taken += pool->slots[i].request &&
                 address_key_equal(&pool->slots[i].request->client_key, client);
    for (request = TAILQ_FIRST(&pool->waiting); request && request->is_again;
         request = TAILQ_NEXT(request, waiting_entry))
        taken += address_key_equal(&request->client_key, client);
    TAILQ_FOREACH(request, &pool->held, held_entry)
    taken += request->asked_ms > 0 && !request->is_with_worker &&
             address_key_equal(&request->client_key, client);
    return taken;
}

/*
 * Would its client be told to come back while PAM is still at work? Half of the whole time is
 * always enough to try: when PAM has become slow, it would never be found to be fast again.
 */
static bool is_too_late(const struct auth_request *request, uint64_t now_ms)
{
    const struct auth_pool *pool = request->pool;
    uint64_t left_ms = request_left_ms(request, now_ms);
    return left_ms == 0 || (left_ms < pool->usual_ms && left_ms < pool->options.timeout_ms / 2);
}

/* A request that is asked again keeps its address's place, and waits for a new worker. */
static bool may_have(const struct slot *slot, const struct auth_request *request)
{
    if (request->is_again)
        return slot->decided == 0;
    return share_taken(slot->pool, &request->client_key) < slot->pool->options.share;
}

/* The first that waits, that the slot may have and that is not put off; NULL: none. */
static struct auth_request *next_request(struct slot *slot, uint64_t now_ms)
{
    struct auth_pool *pool = slot->pool;
    struct auth_request *request, *next;
    for (request = TAILQ_FIRST(&pool->waiting); request; request = next) {
        next = TAILQ_NEXT(request, waiting_entry);
        if (!is_too_late(request, now_ms) && may_have(slot, request) &&
            request_may_begin(request, now_ms))
            return request;
    }
    return NULL;
}

/* A request that could not be sent goes on waiting, for a worker that can be reached. */
static void slot_send(struct slot *slot, struct auth_request *request, uint64_t now_ms)
{
    struct timeval limit = to_timeval(request_left_ms(request, now_ms));

    if (event_add(slot->event, &limit) != 0 ||
        send(event_get_fd(slot->event), request->datagram, request->length,
             MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)request->length) {
        slot_fault(slot, "it takes no request");
        return;
    }
    request_begin(request, now_ms);
    slot->request = request;
}

static bool slot_idle(const struct slot *slot)
{
    return slot->event && !slot->request;
}

static void on_dispatch(evutil_socket_t fd, short what, void *context)
{
    struct auth_pool *pool = context;
    uint64_t now_ms = clock_now_ms();
    (void)fd;
    (void)what;
    unsigned count = pool->options.workers, first = pool->next_slot;
    for (unsigned i = 0; i < count && !TAILQ_EMPTY(&pool->waiting); i++) {
        struct slot *slot = &pool->slots[(first + i) % count];
        struct auth_request *request = slot_idle(slot) ? next_request(slot, now_ms) : NULL;
        if (!request)
            continue;
        pool->next_slot = (first + i + 1) % count;
        slot_send(slot, request, now_ms);
    }
}

struct auth_pool *auth_pool_new(struct event_base *base,
                                const struct auth_pool_options *options)
{
    struct auth_pool *pool = calloc(1, sizeof *pool + options->workers * sizeof pool->slots[0]);
    if (!pool)
        return NULL;
    pool->base = base;
    pool->options = *options;
    pool->schedule = auth_schedule_make(options->failure_delay_ms);
    if (pool->options.share == 0)
        pool->options.share = options->workers > 1 ? options->workers / 2 : 1;
    TAILQ_INIT(&pool->open);
    TAILQ_INIT(&pool->waiting);
    TAILQ_INIT(&pool->held);
    for (unsigned i = 0; i < options->workers; i++)
        pool->slots[i].pool = pool;
    pool->deadline = evtimer_new(base, request_on_deadline, pool);
    pool->dispatch = event_new(base, -1, 0, on_dispatch, pool);
    if (pool->deadline && pool->dispatch)
        return pool;
    auth_pool_free(pool);
    return NULL;
}

void auth_pool_free(struct auth_pool *pool)
{
    if (!pool)
        return;
    for (unsigned i = 0; i < pool->options.workers; i++) {
        if (pool->slots[i].request)
            request_drop(pool->slots[i].request);
        if (pool->slots[i].event)
            slot_close(&pool->slots[i]);
    }
    while (!TAILQ_EMPTY(&pool->waiting))
        request_drop(TAILQ_FIRST(&pool->waiting));
    while (!TAILQ_EMPTY(&pool->held))
        request_drop(TAILQ_FIRST(&pool->held));
    if (pool->deadline)
        event_free(pool->deadline);
    if (pool->dispatch)
        event_free(pool->dispatch);
    free(pool);
}

void auth_pool_attach(struct auth_pool *pool, unsigned number, int socket)
{
    struct auth_request *request = NULL;

    if (number >= pool->options.workers) {
        log_error("auth: a worker for slot %u, which is none", number);
        close(socket);
        return;
    }
    struct slot *slot = &pool->slots[number];
    if (slot->event) {
        request = slot_release(slot);
        slot_close(slot);
    }
    slot->decided = 0;
    slot->event = event_new(pool->base, socket, EV_READ | EV_PERSIST, on_slot, slot);
    if (!slot->event) {
        close(socket);
        slot_report(slot, AUTH_WORKER_LOST, "no memory for its socket");
    } else if (evutil_make_socket_nonblocking(socket) != 0 ||
               event_add(slot->event, NULL) != 0) {
        slot_fault(slot, "its socket cannot be watched");
    }
    pool_wake_dispatch(pool);
    if (request)
        request_ask_again(request, "its worker was replaced");
}

const struct auth_schedule *auth_pool_schedule(const struct auth_pool *pool)
{
    return &pool->schedule;
}

struct auth_pool_state auth_pool_state(const struct auth_pool *pool)
{
    struct auth_pool_state state = {.queued = pool->waiting_count};
    for (unsigned i = 0; i < pool->options.workers; i++) {
        const struct slot *slot = &pool->slots[i];
        if (!slot->event)
            state.absent++;
        else if (slot->request)
            state.busy++;
        else
            state.idle++;
    }
    return state;
}
