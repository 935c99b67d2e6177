/* Starting the master's children: a reactor by fork(), auth workers and openers by executing
 * anew. */
#ifndef POSTERN_CHILDREN_H
#define POSTERN_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/reactor.h"

/* A child that may have died and is to be started again. */
struct child {
    pid_t pid;      /* 0: not running */
    pid_t replaced; /* the one before, while its end is not known; 0: none */
    bool retired;   /* that one has served its time: its end is no loss */
    uint64_t started_ms;
    uint64_t restart_ms; /* when it may start again; UINT64_MAX: is running or is not to */
    unsigned quick_deaths;
};

/* It is gone: sets when it may start again, later and later if it dies at once each time. */
void child_gone(struct child *child, uint64_t now_ms);
/* It could not be started, which counts as a death at once. */
void child_not_started(struct child *child, uint64_t now_ms);

/* "exit status 1", "signal 9 (Killed)". */
#define CHILD_STATUS_SIZE 48
void child_status_text(int status, char out[static CHILD_STATUS_SIZE]);

/* All set *child and return false, having logged why, if no process could be made. */
MUST_USE bool child_start_reactor(struct child *child, const struct reactor_settings *settings);

/* *socket is the reactor's end of the worker's socket, the caller's to close. */
MUST_USE bool child_start_worker(struct child *child, const struct config *config, int *socket);

/* The same for an opener. */
MUST_USE bool child_start_opener(struct child *child, const struct config *config, int *socket);

/* main() of a worker: what stands behind "--auth-worker" in its arguments. Returns the exit
 * status. */
int child_worker_main(int argc, char **argv);

#endif
