/*
 * The reactor's side of authentication: a fixed number of slots, each with
 * the socket of one worker, and a queue before them.
 *
 *   submit ──> queued ──> with a worker ──> accepted ──────────> callback
 *                 │            │
 *                 └ deadline ──┴──> refused, unavailable ─ held ─> callback
 *
 * A request goes to a free worker at once unless its client's address already
 * holds its share of the slots; then the next request of another address
 * goes first. Everything but a success is held until it is settled
 * (schedule.h): the worker is free at once, but the request counts for its
 * address's share until then. So the time for which the next login of that
 * address waits does not show how long PAM took.
 *
 * Idle workers take turns, so one that fails at once gets its share of the
 * logins and no more. A worker that is past its time, dies or talks nonsense
 * loses its slot, and the owner is asked, through auth_pool_fault, for a new
 * one. So does a worker that has decided its number of logins, and one that a
 * PAM module has spoiled. A request that such a worker did not decide goes to a
 * worker that has decided nothing yet, once; after that it gets
 * AUTH_UNAVAILABLE. The worker's time ends with
 * the client's, which begins when the client asks. A request whose client has
 * less time left than PAM usually takes gets no worker: a long queue makes
 * clients give up, but kills no workers.
 *
 * One thread, on the reactor's event base. A password is overwritten as soon
 * as its request is decided or its client has gone.
 */
#ifndef POSTERN_AUTH_POOL_H
#define POSTERN_AUTH_POOL_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/message.h"
#include "auth/schedule.h"
#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

struct auth_pool;
struct auth_request;

enum auth_pool_loss {
    AUTH_WORKER_LOST,    /* it died, hangs or talks nonsense */
    AUTH_WORKER_SPOILED, /* by a PAM module, as it says itself */
    AUTH_WORKER_SPENT,   /* it has decided its number of logins */
};

/*
 * The slot's socket is closed; its worker is to be killed and replaced. May call
 * auth_pool_attach() at once, but not auth_pool_free().
 */
typedef void auth_pool_fault(void *context, unsigned slot, enum auth_pool_loss loss,
                             const char *reason);

/* Where a login comes from. */
struct auth_client {
    const struct address *address;
    bool
        is_exempt; /* from limits: never judged or counted; a refusal frees its share at once */
};

/* May this user be tried from there now? 0: yes. Otherwise the login is put off, and the
 * callback hears the number. Asked again whenever time has passed: before PAM is asked, before
 * a success is told, and when a refusal is settled. */
typedef unsigned auth_pool_judge(void *limits, const struct address *client, const char *user);

/* PAM was asked, the login was not put off, and is settled now; the callback comes next. Called
 * also when the client has gone, unless that login was a success. Returns whether the login
 * counts as a failed one. */
typedef bool auth_pool_count(void *limits, const struct address *client, const char *user,
                             const struct auth_message_verdict *verdict);

struct auth_pool_options {
    unsigned workers; /* slots */
    unsigned share;   /* slots that one address may hold; 0: half of them, at least one */
    /* Requests that may wait for a worker; a further one is refused at once. */
    unsigned queue_limit;
    unsigned logins_per_worker; /* then it is replaced; 0: never */
    /* From submission to verdict, waiting included. */
    uint32_t timeout_ms;
    uint32_t failure_delay_ms; /* see schedule.h */
    auth_pool_fault *fault;
    void *fault_context;
    auth_pool_judge *judge; /* NULL: nothing is ever put off */
    auth_pool_count *count; /* NULL: nothing is counted */
    void *limits;           /* for both */
};

/* NULL: no memory. */
MUST_USE struct auth_pool *auth_pool_new(struct event_base *base,
                                         const struct auth_pool_options *options);

/* Ends every request without calling back or counting, closes every socket. */
void auth_pool_free(struct auth_pool *pool);

/*
 * Gives a slot its worker's socket, which is the pool's from now on (non-blocking is set here).
 * A worker that still held the slot is forgotten without auth_pool_fault; its request is asked
 * again, as above.
 */
void auth_pool_attach(struct auth_pool *pool, unsigned slot, int socket);

/*
 * The process of this slot's worker has ended, even if a child of it still holds the socket.
 * Does nothing if the slot has lost its worker already. An answer that it left is taken.
 */
void auth_pool_worker_ended(struct auth_pool *pool, unsigned slot);

/* Nobody replaces workers from now on: those that are spent stay. */
void auth_pool_keep_workers(struct auth_pool *pool);

struct auth_outcome {
    const struct auth_message_verdict *verdict; /* valid during the callback */
    unsigned
        judgement;   /* not 0: what auth_pool_judge said, and the verdict is not to be told */
    bool is_counted; /* what auth_pool_count returned; false where it was not called */
    uint64_t elapsed_ms; /* from submission until it was decided */
    uint64_t due_ms;     /* when to tell a refusal, in time of clock_now_ms() */
};

/* The outcome, once; the request is gone when it returns. It may submit and cancel other
 * requests. */
typedef void auth_callback(void *context, const struct auth_outcome *outcome);

/*
 * Submits credentials, which are copied; the callback never runs before this returns.
 * NULL: the queue is full, there is no memory, or the credentials are not within the limits of
 * auth/message.h: answer 454 now.
 */
MUST_USE struct auth_request *auth_pool_submit(struct auth_pool *pool, const char *user,
                                               const char *password, struct auth_client client,
                                               auth_callback *callback, void *context);

/* The client has gone: no callback. A worker that is already busy with it stays so until its
 * verdict; a refusal is held and counted as if the client were there. */
void auth_request_cancel(struct auth_request *request);

/* When refusals leave that are not PAM's. */
const struct auth_schedule *auth_pool_schedule(const struct auth_pool *pool);

/* For logs and metrics. */
struct auth_pool_state {
    unsigned idle, busy, absent, queued;
};
struct auth_pool_state auth_pool_state(const struct auth_pool *pool);

#endif
