/* The master's struct, shared by master.c and its parts master_reload.c, master_stop.c and
 * master_upgrade.c. */
#ifndef POSTERN_MASTER_INTERNAL_H
#define POSTERN_MASTER_INTERNAL_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/base/log.h"
#include "proxy/generation.h"
#include "proxy/listeners.h"
#include "proxy/upgrade.h"

#define GENERATIONS 16 /* that finish their sessions, at most */

struct administration;

struct master {
    char *path; /* of the configuration */
    struct listeners *listeners;
    struct generation_environment environment;
    struct admin_sockets *controls;
    struct administration *administration;
    int signals;
    int log; /* the master's end; the environment has the other */
    struct generation *serving;
    struct generation *starting; /* NULL: none */
    struct generation
        *ending[GENERATIONS + 1]; /* the last place is for the one that SIGTERM ends */
    size_t ending_count;
    struct former former[UPGRADE_PROCESSES]; /* reactors of the program before this one */
    size_t former_count;
    char user[LOGIN_NAME_MAX]; /* of the first configuration, which is what they are, too */
    bool reload_again;         /* SIGHUP while a generation was starting */
    bool making_place;         /* the oldest generation has been told to end */
    bool succeeds;             /* another program; it does not end because it cannot serve */
    bool upgrading;            /* and has not served yet */
    uint64_t retry_ms;         /* nothing serves: when the configuration is read again */
    bool stopping;
    uint64_t kill_ms;             /* when stopping: when all that is left is killed */
    uint64_t give_up_ms;          /* when stopping: when what is left even then is left alone */
    struct generation *in_charge; /* when stopping: answers who asks; NULL: nobody does */
    bool last_has_heard;          /* that all others have ended */
    struct log_options log_before; /* while a reload may still fail */
    int status;
};

/* Opens the log file of a configuration that has one. False, having logged why. */
MUST_USE bool master_open_log(const struct config *config);

/* Begins a generation, which owns `config`. False: that failed, and the cause is in the log. */
MUST_USE bool master_start(struct master *master, struct config *config);
/* The same for a configuration that is read now, beside the generation that serves. */
void master_reload(struct master *master);
/* At the end of every turn: what has become of the generations, and what they wish. */
void master_review(struct master *master);

/* What generations have from the master: new, or what another program has left. */
MUST_USE bool master_make_environment(struct master *master);

void master_each_generation(struct master *master, void (*act)(struct generation *generation));

/* SIGTERM, once or twice; and what is to be done in each turn from then on. */
void master_stop(struct master *master);
void master_review_stop(struct master *master);

/* Becomes the program that stands where this one was started from. Returns true if that cannot
 * be executed after all, and the reactors have been told to end: a reload is due. */
MUST_USE bool master_upgrade(struct master *master);

/* How long the master waits before it tries again to serve what another program has left. */
#define MASTER_RETRY_MS 5000

/* The former program's reactors: a signal for all of them, and one that has ended. */
void master_signal_former(const struct master *master, int number);
void master_forget_former(struct master *master, pid_t pid);

#endif
