/*
 * The pool's structs, shared by pool.c (workers, and which request gets one) and request.c (a
 * request from its submission to its callback).
 */
#ifndef POSTERN_AUTH_POOL_INTERNAL_H
#define POSTERN_AUTH_POOL_INTERNAL_H

#include <event2/event_struct.h>
#include <sys/queue.h>

#include "auth/pool.h"

struct slot {
    struct auth_pool *pool;
    struct event *event;          /* on the worker's socket; NULL: no worker */
    struct auth_request *request; /* what the worker is busy with; NULL: nothing */
    unsigned decided;             /* logins, by this worker */
};

/* A request is freed once it is settled, or its client has gone, and no worker has it. */
struct auth_request {
    TAILQ_ENTRY(auth_request) open_entry, waiting_entry, held_entry;
    struct auth_pool *pool;
    bool is_open;            /* undecided, with a deadline */
    bool is_waiting;         /* for a worker */
    bool is_with_worker;     /* perhaps longer than the client waits */
    bool is_again;           /* its worker could not decide it: only a new one may have it */
    bool is_decided;         /* by PAM, by a limit or by a deadline */
    bool is_held;            /* decided, and not settled yet */
    auth_callback *callback; /* NULL: the client has gone */
    void *context;
    uint64_t id;
    uint64_t submitted_ms;
    uint64_t asked_ms; /* when a worker got it; 0: none has */
    uint64_t decided_ms, settled_ms;
    unsigned judgement; /* of options.judge; not 0: it is put off */
    struct address client;
    struct address_key client_key;
    bool is_exempt; /* from limits */
    char user[SASL_USER_LIMIT + 1];
    struct event timer;                  /* while it is held */
    struct auth_message_verdict verdict; /* once it is decided */
    size_t length;
    char datagram[AUTH_MESSAGE_LIMIT]; /* overwritten as soon as it is decided or cancelled */
};

TAILQ_HEAD(request_list, auth_request);

struct auth_pool {
    struct event_base *base;
    struct auth_pool_options options;
    struct auth_schedule schedule;
    struct request_list open;    /* also the order of deadlines: all have the same time */
    struct request_list waiting; /* those that are asked again come first */
    struct request_list held;
    unsigned waiting_count;
    uint64_t usual_ms;  /* what PAM has taken for a login of late; an average */
    unsigned next_slot; /* whose turn it is, if it is idle */
    uint64_t last_id;
    struct event *deadline; /* pending whenever `open` is not empty */
    struct event *dispatch; /* made active when a waiting request may have got its chance */
    struct slot slots[];
};

static inline struct timeval to_timeval(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000),
                            .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

/* pool.c: a slot, a share or a request has come free: looks for work once this turn is over. */
void pool_wake_dispatch(struct auth_pool *pool);

/* request.c */

/* Event callback of the pool's deadline. */
void request_on_deadline(evutil_socket_t fd, short what, void *pool);
/* May PAM be asked for it now? False: it is put off, and waits no longer. */
MUST_USE bool request_may_begin(struct auth_request *request, uint64_t now_ms);
/* Until its client is told to come back; 0: its time is over. */
uint64_t request_left_ms(const struct auth_request *request, uint64_t now_ms);
/* A worker has it now. Its datagram is kept, as that worker may be lost. */
void request_begin(struct auth_request *request, uint64_t now_ms);
/* PAM has answered, and the worker no longer has the request. Calls back now or when the
 * verdict is settled, unless the request was decided before. It may be gone. */
void request_decide(struct auth_request *request, const struct auth_message_verdict *verdict);
/* Its worker, which no longer has it, is lost or could not decide. Makes it wait for a new
 * worker, or gives it up for this reason if that has happened before or its client has gone. */
void request_ask_again(struct auth_request *request, const char *reason);
/* Decides it as AUTH_UNAVAILABLE with this reason. */
void request_give_up(struct auth_request *request, const char *reason);
/* Ends it without a callback, wherever it is. */
void request_drop(struct auth_request *request);

#endif
