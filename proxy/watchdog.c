/*
 * A supervisor such as systemd has a server killed that it has not heard from. A master that
 * lives says nothing of those who serve: it speaks only when all of them have turned of late,
 * which each shows by a number in shared memory that a timer of its loop raises.
 */
#include "proxy/watchdog.h"

#include <stdbool.h>

#include "proxy/base/log.h"
#include "proxy/supervisor.h"

/* A loop is stuck when it has missed two of its timers at least. */
#define LEAST_PATIENCE_MS 12000u

static uint64_t due_ms;
static pid_t told_of; /* a reactor that is stuck */

static void tell(pid_t stuck)
{
    if (stuck > 0 && stuck != told_of)
        log_error("reactor %d is not responsive; the watchdog gets no sign of life until it is",
                  (int)stuck);
    else if (stuck == 0 && told_of > 0)
        log_notice("reactor %d is responsive again", (int)told_of);
    told_of = stuck;
    if (stuck == 0)
        supervisor_alive();
}

uint64_t watchdog_tend(struct generation *serving, uint64_t now_ms)
{
    uint64_t limit_ms = supervisor_watchdog_ms();
    uint64_t patience_ms = limit_ms / 2 > LEAST_PATIENCE_MS ? limit_ms / 2 : LEAST_PATIENCE_MS;
    if (limit_ms == 0)
        return UINT64_MAX;
    if (now_ms >= due_ms) {
        tell(serving ? generation_find_stuck(serving, now_ms, patience_ms) : 0);
        due_ms = now_ms + limit_ms / 4;
    }
    return due_ms;
}
