/*
 * The reactor's side of authentication: a fixed number of slots, each with
 * the socket of one worker, and a queue before them.
 *
 *   submit ──> queued ──> with a worker ──> verdict ──> callback
 *                 │            │
 *                 └ deadline ──┴──> AUTH_UNAVAILABLE ──> callback
 *
 * A request goes to a free worker at once unless its client's address already
 * holds its share of the slots; then the next request of another address
 * goes first. A worker that is past its time, dies or talks nonsense loses
 * its slot: its request gets AUTH_UNAVAILABLE and the owner is asked, through
 * auth_pool_fault, for a new one. The worker's time begins when it gets the
 * request, the client's when it asks: a long queue makes clients give up, but
 * kills no worker that has only just begun.
 *
 * One thread, on the reactor's event base. Passwords are overwritten as soon
 * as they are sent, or the request ends in any other way.
 */
#ifndef POSTERN_AUTH_POOL_H
#define POSTERN_AUTH_POOL_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/message.h"
#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

struct auth_pool;
struct auth_request;

/*
 * The slot's socket is closed; the worker behind it is to be killed and replaced. May call
 * auth_pool_attach() at once, but not auth_pool_free().
 */
typedef void auth_pool_fault(void *context, unsigned slot, const char *reason);

struct auth_pool_options {
    unsigned workers; /* slots */
    unsigned share;   /* slots that one address may hold; 0: half of them, at least one */
    /* Requests that may wait for a worker; a further one is refused at once. */
    unsigned queue_limit;
    /* From submission to verdict, waiting included; and what a worker may take for one. */
    uint32_t timeout_ms;
    auth_pool_fault *fault;
    void *fault_context;
};

/* NULL: no memory. */
MUST_USE struct auth_pool *auth_pool_new(struct event_base *base,
                                         const struct auth_pool_options *options);

/* Ends every request without calling back, closes every socket. */
void auth_pool_free(struct auth_pool *pool);

/*
 * Gives a slot its worker's socket, which is the pool's from now on (non-blocking is set here).
 * A worker that still held the slot is forgotten without auth_pool_fault, and its request ends.
 */
void auth_pool_attach(struct auth_pool *pool, unsigned slot, int socket);

/*
 * The verdict, once. `verdict` is valid during the call; the request is gone when it returns.
 * `elapsed_ms` is the time since submission, so that a refusal can be delayed from there. It
 * may submit and cancel other requests.
 */
typedef void auth_callback(void *context, const struct auth_message_verdict *verdict,
                           uint64_t elapsed_ms);

/*
 * Submits credentials, which are copied; the callback never runs before this returns.
 * NULL: the queue is full, there is no memory, or the credentials are not within the limits of
 * auth/message.h: answer 454 now.
 */
MUST_USE struct auth_request *auth_pool_submit(struct auth_pool *pool, const char *user,
                                               const char *password,
                                               const struct address *client,
                                               auth_callback *callback, void *context);

/* The client has gone: no callback. A worker that is already busy with it stays so until its
 * verdict. */
void auth_request_cancel(struct auth_request *request);

/* For logs and metrics. */
struct auth_pool_state {
    unsigned idle, busy, absent, queued;
};
struct auth_pool_state auth_pool_state(const struct auth_pool *pool);

#endif
