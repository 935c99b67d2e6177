/*
 * A login's request from its submission to its callback: the queue and its deadline, and the
 * time for which everything but a success is held (schedule.h). Called by login.c through
 * pool.h, and by pool.c for what workers say. Never calls back from a submit.
 *
 *   open, waiting ──> open, with a worker ──> decided ──> held ──> settled
 *       │      ^──── asked again, once┘           ^
 *       └──────────── put off, late ───────────────┘
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/pool_internal.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"

static void leave_open(struct auth_request *request)
{
    if (request->is_open)
        TAILQ_REMOVE(&request->pool->open, request, open_entry);
    request->is_open = false;
}

static void leave_waiting(struct auth_request *request)
{
    if (!request->is_waiting)
        return;
    TAILQ_REMOVE(&request->pool->waiting, request, waiting_entry);
    request->pool->waiting_count--;
    request->is_waiting = false;
}

static void leave_held(struct auth_request *request)
{
    if (!request->is_held)
        return;
    TAILQ_REMOVE(&request->pool->held, request, held_entry);
    event_del(&request->timer);
    request->is_held = false;
}

/* Overwrites every place that its password was in. */
static void request_free(struct auth_request *request)
{
    explicit_bzero(request->datagram, sizeof request->datagram);
    free(request);
}

void request_drop(struct auth_request *request)
{
    leave_open(request);
    leave_waiting(request);
    leave_held(request);
    request_free(request);
}

static unsigned judge(const struct auth_request *request)
{
    const struct auth_pool_options *options = &request->pool->options;
    if (!options->judge || request->is_exempt)
        return 0;
    return options->judge(options->limits, &request->client, request->user);
}

static bool count(const struct auth_request *request)
{
    const struct auth_pool_options *options = &request->pool->options;
    bool is_told = request->callback || request->verdict.result != AUTH_ACCEPTED;
    return options->count && is_told && !request->is_exempt && request->asked_ms > 0 &&
           request->judgement == 0 &&
           options->count(options->limits, &request->client, request->user, &request->verdict);
}

/* Calls back, and frees the request once no worker has it. */
static void settle(struct auth_request *request)
{
    auth_callback *callback = request->callback;
    struct auth_outcome outcome = {
        .verdict = &request->verdict,
        .elapsed_ms = request->decided_ms - request->submitted_ms,
        .due_ms = auth_schedule_due_ms(&request->pool->schedule, request->submitted_ms,
                                       request->settled_ms),
    };
    leave_held(request);
    if (request->verdict.result == AUTH_REJECTED && request->judgement == 0)
        request->judgement = judge(request);
    outcome.judgement = request->judgement;
    outcome.is_counted = count(request);
    request->callback = NULL;
    pool_wake_dispatch(request->pool);
    if (callback)
        callback(request->context, &outcome);
    if (!request->is_with_worker)
        request_free(request);
}

/* False: no memory. */
static bool set_timer(struct auth_request *request, uint64_t now_ms)
{
    uint64_t due_ms = request->settled_ms;
    struct timeval wait = to_timeval(due_ms > now_ms ? due_ms - now_ms : 0);
    return evtimer_add(&request->timer, &wait) == 0;
}

/* Rings early if the loop's clock is late: then it is set once more. */
static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct auth_request *request = context;
    uint64_t now_ms = clock_now_ms();
    (void)fd;
    (void)what;
    if (now_ms >= request->settled_ms || !set_timer(request, now_ms))
        settle(request);
}

static void hold(struct auth_request *request)
{
    struct auth_pool *pool = request->pool;
    TAILQ_INSERT_TAIL(&pool->held, request, held_entry);
    request->is_held = true;
    evtimer_assign(&request->timer, pool->base, on_timer, request);
    if (!set_timer(request, request->decided_ms))
        event_active(&request->timer, EV_TIMEOUT, 0);
}

static void decide(struct auth_request *request, const struct auth_message_verdict *verdict,
                   uint64_t now_ms)
{
    const struct auth_schedule *schedule = &request->pool->schedule;
    leave_open(request);
    leave_waiting(request);
    explicit_bzero(request->datagram, sizeof request->datagram);
    request->is_decided = true;
    request->verdict = *verdict;
    request->decided_ms = now_ms;
    request->settled_ms = request->asked_ms > 0 && !request->is_exempt
                              ? auth_schedule_settled_ms(schedule, request->asked_ms, now_ms)
                              : now_ms;
}

/* Settles or holds it, unless it was decided before. */
static void conclude(struct auth_request *request, const struct auth_message_verdict *verdict,
                     uint64_t now_ms)
{
    if (request->is_decided) {
        if (!request->callback && !request->is_held)
            request_free(request);
        return;
    }
    decide(request, verdict, now_ms);
    bool is_welcome = verdict->result == AUTH_ACCEPTED && request->callback;
    if (is_welcome)
        request->judgement = judge(request);
    if ((is_welcome && request->judgement == 0) || request->settled_ms <= request->decided_ms)
        settle(request);
    else
        hold(request);
}

void request_decide(struct auth_request *request, const struct auth_message_verdict *verdict)
{
    struct auth_schedule *schedule = &request->pool->schedule;
    uint64_t now_ms = clock_now_ms();
    auth_schedule_wish(schedule, verdict->delay_ms);
    auth_schedule_took(schedule, now_ms - request->asked_ms);
    conclude(request, verdict, now_ms);
}

void request_give_up(struct auth_request *request, const char *reason)
{
    struct auth_message_verdict verdict = {.id = request->id, .result = AUTH_UNAVAILABLE};
    snprintf(verdict.reason, sizeof verdict.reason, "%s", reason);
    conclude(request, &verdict, clock_now_ms());
}

/* Still open, as its client's time goes on. */
void request_ask_again(struct auth_request *request, const char *reason)
{
    struct auth_pool *pool = request->pool;
    if (request->is_decided || request->is_again || !request->callback) {
        request_give_up(request, reason);
        return;
    }
    request->is_again = request->is_waiting = true;
    TAILQ_INSERT_HEAD(&pool->waiting, request, waiting_entry);
    pool->waiting_count++;
}

/* Held for no time, so that the callback does not come while the queue is looked through. */
bool request_may_begin(struct auth_request *request, uint64_t now_ms)
{
    struct auth_message_verdict verdict = {.id = request->id, .result = AUTH_REJECTED};
    if (now_ms > request->submitted_ms)
        request->judgement = judge(request);
    if (request->judgement == 0)
        return true;
    decide(request, &verdict, now_ms);
    hold(request);
    return false;
}

uint64_t request_left_ms(const struct auth_request *request, uint64_t now_ms)
{
    uint64_t end_ms = request->submitted_ms + request->pool->options.timeout_ms;
    return end_ms > now_ms ? end_ms - now_ms : 0;
}

void request_begin(struct auth_request *request, uint64_t now_ms)
{
    leave_waiting(request);
    request->is_with_worker = true;
    request->asked_ms = now_ms;
}

/* For the first of `open`; false: no memory. */
static bool set_deadline(struct auth_pool *pool)
{
    uint64_t now = clock_now_ms();
    uint64_t due = TAILQ_FIRST(&pool->open)->submitted_ms + pool->options.timeout_ms;
    struct timeval delay = to_timeval(due > now ? due - now : 0);
    return event_add(pool->deadline, &delay) == 0;
}

/* Comes early if the request that it was set for has ended: then it is set once more. */
void request_on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct auth_pool *pool = context;
    struct auth_request *first = TAILQ_FIRST(&pool->open);
    (void)fd;
    (void)what;

    if (!first)
        return;
    if (clock_now_ms() - first->submitted_ms < pool->options.timeout_ms) {
        if (!set_deadline(pool))
            log_error("auth: no memory for a timer");
        return;
    }
    /* The callback may change everything here, so the next one is looked at afterwards. */
    event_active(pool->deadline, EV_TIMEOUT, 0);
    request_give_up(first,
                    first->is_waiting ? "no worker was free in time" : "no verdict in time");
}

/* Copies `text` with its NUL; false: it is longer than the field. */
static bool copy_text(char *field, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (length >= size)
        return false;
    memcpy(field, text, length + 1);
    return true;
}

static bool write_datagram(struct auth_request *request, const char *user, const char *password)
{
    struct auth_message_request message = {.id = request->id};

    address_host(&request->client, message.client_host);
    if (copy_text(message.user, sizeof message.user, user) &&
        copy_text(message.password, sizeof message.password, password) &&
        copy_text(request->user, sizeof request->user, user))
        request->length = auth_message_write_request(&message, request->datagram);
    explicit_bzero(&message, sizeof message);
    return request->length > 0;
}

/* Each idle worker will take one of the waiting requests. */
static bool queue_full(const struct auth_pool *pool)
{
    return pool->waiting_count >= pool->options.queue_limit + auth_pool_state(pool).idle;
}

static void enqueue(struct auth_pool *pool, struct auth_request *request)
{
    TAILQ_INSERT_TAIL(&pool->open, request, open_entry);
    TAILQ_INSERT_TAIL(&pool->waiting, request, waiting_entry);
    request->is_open = request->is_waiting = true;
    pool->waiting_count++;
}

struct auth_request *auth_pool_submit(struct auth_pool *pool, const char *user,
                                      const char *password, struct auth_client client,
                                      auth_callback *callback, void *context)
{
    struct auth_request *request = queue_full(pool) ? NULL : calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->pool = pool;
    request->callback = callback;
    request->context = context;
    request->id = ++pool->last_id;
    request->submitted_ms = clock_now_ms();
    request->client = *client.address;
    request->client_key = address_key(client.address);
    request->is_exempt = client.is_exempt;
    if (!write_datagram(request, user, password)) {
        request_free(request);
        return NULL;
    }
    enqueue(pool, request);
    if (!evtimer_pending(pool->deadline, NULL) && !set_deadline(pool)) {
        request_drop(request);
        return NULL;
    }
    pool_wake_dispatch(pool);
    return request;
}

void auth_request_cancel(struct auth_request *request)
{
    request->callback = NULL;
    leave_open(request);
    explicit_bzero(request->datagram, sizeof request->datagram);
    if (request->asked_ms == 0)
        request_drop(request);
    else if (request->is_waiting)
        request_give_up(request, "the client has gone");
}
