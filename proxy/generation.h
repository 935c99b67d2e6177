/*
 * A generation: one configuration with its TLS contexts, the reactors that
 * run it, and the auth workers of each. The master has one that serves, for a
 * moment a second one after a reload, and older ones that finish their
 * sessions.
 */
#ifndef POSTERN_GENERATION_H
#define POSTERN_GENERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>

#include "proxy/admin/sockets.h"
#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/control.h"
#include "proxy/departing.h"
#include "proxy/former.h"
#include "proxy/listeners.h"
#include "proxy/permits.h"
#include "proxy/tally.h"
#include "tls/ticket_periods.h"

struct generation;

/* So much later than the configured time is what has not ended killed. */
#define GENERATION_KILL_AFTER_MS 5000

/* What generations have from the master. */
struct generation_environment {
    const struct listeners *listeners;
    struct tally *tally;                   /* which all reactors share */
    struct permits *permits;               /* likewise */
    struct ticket_periods *ticket_periods; /* of all reactors; used without a secret file */
    struct departing *departing;           /* gets the helpers of ended reactors */
    int log;                               /* the reactors' end of the log socket */
    bool refusing;                         /* new connections */
    /* A reactor asks for something that is not its generation's alone: CONTROL_RELOAD,
     * CONTROL_REFUSE, CONTROL_LOG_LEVEL or CONTROL_REOPEN, with a number that is allowed there.
     */
    void (*wish)(void *context, const struct control_message *message);
    void *wish_context;
};

/*
 * Checks the certificates and starts the processes. Owns `config` from now on, also when it
 * fails (NULL, the cause having been logged).
 */
MUST_USE struct generation *generation_start(const struct generation_environment *environment,
                                             struct config *config);

/*
 * From one program to the next: a line for each reactor that lives, and what this program makes
 * of them, given what followed "reactor " in each. It serves, and owns `config` from now on,
 * also when it fails (NULL); the processes are then as they were.
 */
void generation_describe(const struct generation *generation, FILE *out);
MUST_USE struct generation *generation_adopt(const struct generation_environment *environment,
                                             struct config *config, char *const *reactors,
                                             size_t count);
/* The helpers of its reactors, in departing.h's words. */
void generation_describe_helpers(const struct generation *generation, FILE *out);
/* It stays in charge after all: its reactors are introduced to each other again. */
void generation_has_returned(struct generation *generation);

/* Kills what is left of it and gives everything back. NULL is allowed. */
void generation_free(struct generation *generation);

/* Its reactors, as the next program will have them: writes at most `size`, and returns how
 * many. The sockets stay the generation's. */
size_t generation_list(const struct generation *generation, struct former *out, size_t size);

/* A reactor whose loop has not turned for `patience_ms`; 0: there is none. Those that are about
 * to be started again are not meant. */
pid_t generation_find_stuck(struct generation *generation, uint64_t now_ms,
                            uint64_t patience_ms);

const struct config *generation_config(const struct generation *generation);

enum generation_state {
    GENERATION_STARTING, /* not every reactor has said that it is ready */
    GENERATION_SERVING,
    GENERATION_ENDING, /* draining or stopping; some reactors are left */
    GENERATION_ENDED,  /* no reactor is left, or it could not start */
};
enum generation_state generation_state(const struct generation *generation);

/* All are ready: accept. Those that are started again later do so at once. */
void generation_accept(struct generation *generation);
/* Accept no more; live sessions finish, within a long time. */
void generation_drain(struct generation *generation);
/* The same, and their master is about to be another program, which replaces no helper. */
void generation_leave(struct generation *generation);
/* The same, and within the configured time: what has not ended a moment after that is killed by
 * generation_tend(), but a reactor whose clients await the reply to a whole message (threat 49)
 * has the time that the backend has for it. With `lingers` the first reactor serves the
 * administration interface until this is called again without. */
void generation_stop(struct generation *generation, bool lingers);
/* When it is killed (clock_now_ms()); UINT64_MAX: it has not been told to stop. */
uint64_t generation_kill_ms(const struct generation *generation);
void generation_kill(struct generation *generation);

/* Tells all of its reactors. */
void generation_tell(const struct generation *generation, enum control_type type,
                     uint32_t number);

/*
 * Administration. The first reactor of the generation in charge gets the sockets, and is
 * connected with every other reactor that lives, so that it can ask them.
 */
void generation_forget_peers(const struct generation *in_charge);
void generation_introduce(const struct generation *generation,
                          const struct generation *in_charge);
/* Does that reactor live? */
bool generation_has_first(const struct generation *generation);
/* Another reactor to ask, by its socket, which stays the caller's. */
void generation_add_peer(const struct generation *in_charge, int socket);
/* Comes last, so that who is asked can ask. */
void generation_take_charge(const struct generation *generation,
                            const struct admin_sockets *sockets);
/* Has a reactor become ready since this was last asked? */
bool generation_has_news(struct generation *generation);
/* A reload begins, and has ended: those who asked before it began hear of it. `report` is a
 * descriptor with the reasons, or -1. */
void generation_begin_reload(struct generation *generation);
void generation_end_reload(struct generation *generation, bool done, int report);

/* A child of the master has ended. False: it is not of this generation. */
bool generation_child_ended(struct generation *generation, pid_t pid, int status);

/* The control sockets: for poll(), and what to do when one is readable. */
size_t generation_sockets(const struct generation *generation, int *out, size_t size);
void generation_socket_readable(struct generation *generation, int fd);

/* Starts again what has died and has waited long enough, ends what is overdue; returns when to
 * call next (clock_now_ms(); UINT64_MAX: no need). */
uint64_t generation_tend(struct generation *generation);

#endif
