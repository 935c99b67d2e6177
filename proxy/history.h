/*
 * The figures of the last hour, for the status page: a ring of points, one for
 * every ten seconds, in memory that all reactors share (statistics_memory.h),
 * so that it outlives reloads and upgrades. Counters are those since the
 * start: what happened in a minute is the difference of two points. Every
 * process that has the memory can write it: a reader takes numbers from there,
 * and only points whose time fits their place.
 */
#ifndef POSTERN_HISTORY_H
#define POSTERN_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/statistics.h"

#define HISTORY_STEP_MS 10000u
/* An hour, and two minutes more: the first minute that is shown needs a point before it. */
#define HISTORY_POINTS 372u

enum history_figure {
    HISTORY_SESSIONS, /* open at that time */
    HISTORY_RELAYING, /* of them: those that have a backend */
    HISTORY_LOGINS,
    HISTORY_LOGINS_FAILED,
    HISTORY_LOGINS_UNAVAILABLE,
    HISTORY_LOGINS_PUT_OFF,
    HISTORY_MESSAGES,
    HISTORY_BYTES_IN,
    HISTORY_BYTES_OUT,
    HISTORY_FIGURES,
};

struct history_point {
    uint64_t at_ms; /* of clock_now_ms() */
    uint64_t figures[HISTORY_FIGURES];
};

/* All zero: empty. */
struct history {
    struct history_place {
        uint64_t turn; /* 0: never written; odd: being written */
        struct history_point point;
    } places[HISTORY_POINTS];
};

/* "logins_failed": as in the answer to GET /status. */
const char *history_figure_name(enum history_figure figure);

/* Returns true if no process has written the point of this time yet. */
bool history_is_due(const struct history *history, uint64_t now_ms);

/* Writes the point of this time, unless another process does. Any process may call it. */
void history_note(struct history *history, uint64_t now_ms, const struct statistics *sum);

/* Copies the points of the last hour, the oldest first. Returns how many there are. */
size_t history_read(const struct history *history, uint64_t now_ms,
                    struct history_point out[static HISTORY_POINTS]);

#endif
