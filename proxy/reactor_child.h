/*
 * A reactor as the master sees it: its process, the socket to it, and the processes that it
 * needs: auth workers, and an opener if a backend does.
 */
#ifndef POSTERN_REACTOR_CHILD_H
#define POSTERN_REACTOR_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/children.h"
#include "proxy/config.h"
#include "proxy/departing.h"

/* A reload that the reactor has asked for. */
enum reactor_child_reload { RELOAD_NOT_ASKED, RELOAD_ASKED, RELOAD_UNDER_WAY };

struct reactor_child {
    struct child process;
    int control;         /* -1: gone */
    uint32_t statistics; /* its place */
    uint64_t turns;      /* of its loop, when last looked at */
    uint64_t turned_ms;  /* when that was another number */
    bool ready;
    uint8_t reload;        /* enum reactor_child_reload */
    struct child *workers; /* config->auth.workers of them */
    struct child opener;   /* if a backend needs it */
};

/* Logs what cannot be started; it is tried again by reactor_child_tend(). */
void reactor_child_start_helpers(struct reactor_child *reactor, const struct config *config);

/* Starts again what has died and has waited long enough; returns when to call next. */
uint64_t reactor_child_tend(struct reactor_child *reactor, const struct config *config,
                            uint64_t now_ms);

/* Its worker in this slot is of no use. The reactor has closed the worker's socket already, so
 * a new one is due in any case: at once if the worker is only retired. */
void reactor_child_replace_worker(struct reactor_child *reactor, const struct config *config,
                                  uint32_t slot, bool is_retired);

/* A process has ended. False: it is none of this reactor's helpers. */
bool reactor_child_helper_ended(struct reactor_child *reactor, const struct config *config,
                                bool ending, pid_t pid, int status);

/* Its auth workers and its opener are told to end, the workers `at_once` with SIGKILL; from now
 * on they are `departing`'s. */
void reactor_child_end_helpers(struct reactor_child *reactor, const struct config *config,
                               struct departing *departing, bool at_once);

void reactor_child_close_control(struct reactor_child *reactor);
/* The reactor is gone: closes the socket, and keeps what it has counted. */
void reactor_child_leave(struct reactor_child *reactor);

#endif
