/*
 * The reactor's side of authentication: requests wait in order of arrival,
 * go to workers as one datagram each, and end with one callback. The SMTP
 * session submits and cancels; the master's messages bring new sockets. It
 * never blocks, never trusts a worker, and never calls back from a submit.
 *
 * A request is in `open` as long as a callback is owed, and apart from that
 * waits or is with a worker. It is freed when nothing of it is true any more:
 * a worker whose client has gone keeps its request, without a callback.
 */
#include "auth/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"

struct slot {
    struct auth_pool *pool;
    struct event *event;          /* on the worker's socket; NULL: no worker */
    struct auth_request *request; /* what the worker is busy with; NULL: nothing */
};

enum request_place { REQUEST_WAITING, REQUEST_WITH_WORKER, REQUEST_NOWHERE };

struct auth_request {
    TAILQ_ENTRY(auth_request) open_entry, waiting_entry;
    struct auth_pool *pool;
    enum request_place place;
    auth_callback *callback; /* NULL: nobody is owed the verdict */
    void *context;
    uint64_t id, submitted_ms;
    struct address_key client;
    size_t length;
    char datagram[AUTH_MESSAGE_LIMIT]; /* overwritten as soon as it is sent */
};

TAILQ_HEAD(request_list, auth_request);

struct auth_pool {
    struct event_base *base;
    struct auth_pool_options options;
    struct request_list open; /* also the order of deadlines: all have the same time */
    struct request_list waiting;
    unsigned waiting_count;
    uint64_t last_id;
    struct event *deadline; /* pending whenever `open` is not empty */
    struct event *dispatch; /* made active when a waiting request may have got its chance */
    struct slot slots[];
};

static struct timeval to_timeval(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000),
                            .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

static void wake_dispatch(struct auth_pool *pool)
{
    event_active(pool->dispatch, 0, 0);
}

/* The end of a request, and of every other place its password was in. */
static void request_free(struct auth_request *request)
{
    explicit_bzero(request->datagram, sizeof request->datagram);
    free(request);
}

static void leave_waiting(struct auth_request *request, enum request_place place)
{
    TAILQ_REMOVE(&request->pool->waiting, request, waiting_entry);
    request->pool->waiting_count--;
    request->place = place;
}

/* Nobody is owed a callback any more. Frees the request unless a worker is busy with it. */
static void request_close(struct auth_request *request)
{
    TAILQ_REMOVE(&request->pool->open, request, open_entry);
    request->callback = NULL;
    if (request->place == REQUEST_WAITING)
        leave_waiting(request, REQUEST_NOWHERE);
    if (request->place == REQUEST_NOWHERE)
        request_free(request);
}

/* Calls back, if anybody waits for it, as the last thing that is done with the request. */
static void request_end(struct auth_request *request,
                        const struct auth_message_verdict *verdict)
{
    auth_callback *callback = request->callback;
    void *context = request->context;
    uint64_t elapsed_ms = clock_now_ms() - request->submitted_ms;

    if (!callback) {
        request_free(request);
        return;
    }
    request_close(request);
    callback(context, verdict, elapsed_ms);
}

static void request_give_up(struct auth_request *request, const char *reason)
{
    struct auth_message_verdict verdict = {.id = request->id, .result = AUTH_UNAVAILABLE};
    snprintf(verdict.reason, sizeof verdict.reason, "%s", reason);
    request_end(request, &verdict);
}

/* Frees the slot for another request; what it was busy with (perhaps NULL) is the caller's. */
static struct auth_request *slot_release(struct slot *slot)
{
    struct auth_request *request = slot->request;

    slot->request = NULL;
    if (request)
        request->place = REQUEST_NOWHERE;
    event_remove_timer(slot->event);
    wake_dispatch(slot->pool);
    return request;
}

static void slot_close(struct slot *slot)
{
    close(event_get_fd(slot->event));
    event_free(slot->event);
    slot->event = NULL;
}

/* Ends the slot's request and asks the owner for another worker. */
static void slot_fault(struct slot *slot, const char *reason)
{
    const struct auth_pool_options *options = &slot->pool->options;
    auth_pool_fault *fault = options->fault;
    void *context = options->fault_context;
    unsigned number = (unsigned)(slot - slot->pool->slots);
    struct auth_request *request = slot_release(slot);

    slot_close(slot);
    if (request)
        request_give_up(request, reason);
    fault(context, number, reason);
}

static void slot_take_verdict(struct slot *slot, const char *bytes, size_t length)
{
    struct auth_message_verdict verdict;

    if (!slot->request)
        slot_fault(slot, "it spoke without being asked");
    else if (length > AUTH_MESSAGE_LIMIT || !auth_message_read_verdict(bytes, length, &verdict))
        slot_fault(slot, "malformed verdict");
    else if (verdict.id != slot->request->id)
        slot_fault(slot, "verdict on another request");
    else
        request_end(slot_release(slot), &verdict);
}

/* The worker has spoken or gone, or (a timeout is set while it is busy) it is past its time. */
static void on_slot(evutil_socket_t socket, short what, void *context)
{
    struct slot *slot = context;
    char bytes[AUTH_MESSAGE_LIMIT];

    if (!(what & EV_READ)) {
        char reason[64];
        snprintf(reason, sizeof reason, "no verdict in %g s",
                 slot->pool->options.timeout_ms / 1000.0);
        slot_fault(slot, reason);
        return;
    }
    ssize_t length = recv(socket, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);
    if (length > 0)
        slot_take_verdict(slot, bytes, (size_t)length);
    else if (length == 0 || (errno != EAGAIN && errno != EINTR))
        slot_fault(slot, "the worker has gone");
}

static unsigned slots_held(const struct auth_pool *pool, const struct address_key *client)
{
    unsigned held = 0;
    for (unsigned i = 0; i < pool->options.workers; i++) {
        const struct auth_request *request = pool->slots[i].request;
        if (request && request->client.high == client->high &&
            request->client.low == client->low)
            held++;
    }
    return held;
}

/* The first that waits and whose client may have one more slot; NULL: none. */
static struct auth_request *next_request(const struct auth_pool *pool)
{
    struct auth_request *request;
    TAILQ_FOREACH(request, &pool->waiting, waiting_entry)
    if (slots_held(pool, &request->client) < pool->options.share)
        return request;
    return NULL;
}

/* A request that could not be sent goes on waiting, for a worker that can be reached. */
static void slot_send(struct slot *slot, struct auth_request *request)
{
    struct timeval limit = to_timeval(slot->pool->options.timeout_ms);

    if (event_add(slot->event, &limit) != 0 ||
        send(event_get_fd(slot->event), request->datagram, request->length,
             MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)request->length) {
        slot_fault(slot, "it takes no request");
        return;
    }
    explicit_bzero(request->datagram, sizeof request->datagram);
    leave_waiting(request, REQUEST_WITH_WORKER);
    slot->request = request;
}

static bool slot_idle(const struct slot *slot)
{
    return slot->event && !slot->request;
}

static void on_dispatch(evutil_socket_t fd, short what, void *context)
{
    struct auth_pool *pool = context;
    (void)fd;
    (void)what;
    for (unsigned i = 0; i < pool->options.workers; i++) {
        if (!slot_idle(&pool->slots[i]))
            continue;
        struct auth_request *request = next_request(pool);
        if (!request)
            return;
        slot_send(&pool->slots[i], request);
    }
}

/* For the first of `open`; false: no memory. */
static bool set_deadline(struct auth_pool *pool)
{
    uint64_t now = clock_now_ms();
    uint64_t due = TAILQ_FIRST(&pool->open)->submitted_ms + pool->options.timeout_ms;
    struct timeval delay = to_timeval(due > now ? due - now : 0);
    return event_add(pool->deadline, &delay) == 0;
}

/* Comes early where the request that it was set for has ended: then it is set anew. */
static void on_deadline(evutil_socket_t fd, short what, void *context)
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
    request_give_up(first, first->place == REQUEST_WAITING ? "no worker was free in time"
                                                           : "no verdict in time");
}

struct auth_pool *auth_pool_new(struct event_base *base,
                                const struct auth_pool_options *options)
{
    struct auth_pool *pool = calloc(1, sizeof *pool + options->workers * sizeof pool->slots[0]);
    if (!pool)
        return NULL;
    pool->base = base;
    pool->options = *options;
    if (pool->options.share == 0)
        pool->options.share = options->workers > 1 ? options->workers / 2 : 1;
    TAILQ_INIT(&pool->open);
    TAILQ_INIT(&pool->waiting);
    for (unsigned i = 0; i < options->workers; i++)
        pool->slots[i].pool = pool;
    pool->deadline = evtimer_new(base, on_deadline, pool);
    pool->dispatch = event_new(base, -1, 0, on_dispatch, pool);
    if (pool->deadline && pool->dispatch)
        return pool;
    auth_pool_free(pool);
    return NULL;
}

void auth_pool_free(struct auth_pool *pool)
{
    struct auth_request *request, *next;

    if (!pool)
        return;
    for (request = TAILQ_FIRST(&pool->open); request; request = next) {
        next = TAILQ_NEXT(request, open_entry);
        request_close(request);
    }
    for (unsigned i = 0; i < pool->options.workers; i++) {
        if (pool->slots[i].request)
            request_free(pool->slots[i].request);
        if (pool->slots[i].event)
            slot_close(&pool->slots[i]);
    }
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
    slot->event = event_new(pool->base, socket, EV_READ | EV_PERSIST, on_slot, slot);
    if (!slot->event) {
        close(socket);
        pool->options.fault(pool->options.fault_context, number, "no memory for its socket");
    } else if (evutil_make_socket_nonblocking(socket) != 0 ||
               event_add(slot->event, NULL) != 0) {
        slot_fault(slot, "its socket cannot be watched");
    }
    wake_dispatch(pool);
    if (request)
        request_give_up(request, "its worker was replaced");
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

static bool write_datagram(struct auth_request *request, const char *user, const char *password,
                           const struct address *client)
{
    struct auth_message_request message = {.id = request->id};

    address_host(client, message.client_host);
    if (copy_text(message.user, sizeof message.user, user) &&
        copy_text(message.password, sizeof message.password, password))
        request->length = auth_message_write_request(&message, request->datagram);
    explicit_bzero(&message, sizeof message);
    return request->length > 0;
}

/* Workers that are idle will take one each, before anybody has to wait. */
static bool queue_full(const struct auth_pool *pool)
{
    return pool->waiting_count >= pool->options.queue_limit + auth_pool_state(pool).idle;
}

static void enqueue(struct auth_pool *pool, struct auth_request *request)
{
    TAILQ_INSERT_TAIL(&pool->open, request, open_entry);
    TAILQ_INSERT_TAIL(&pool->waiting, request, waiting_entry);
    pool->waiting_count++;
}

struct auth_request *auth_pool_submit(struct auth_pool *pool, const char *user,
                                      const char *password, const struct address *client,
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
    request->client = address_key(client);
    if (!write_datagram(request, user, password, client)) {
        request_free(request);
        return NULL;
    }
    enqueue(pool, request);
    if (!evtimer_pending(pool->deadline, NULL) && !set_deadline(pool)) {
        request_close(request);
        return NULL;
    }
    wake_dispatch(pool);
    return request;
}

void auth_request_cancel(struct auth_request *request)
{
    request_close(request);
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
