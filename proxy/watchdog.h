/* Tells the supervisor that the server is alive, as long as each reactor that serves turns. */
#ifndef POSTERN_WATCHDOG_H
#define POSTERN_WATCHDOG_H

#include <stdint.h>

#include "proxy/generation.h"

/* By the master, again and again; returns when to call next (clock_now_ms(); UINT64_MAX: no
 * supervisor waits for it). `serving` may be NULL. */
uint64_t watchdog_tend(struct generation *serving, uint64_t now_ms);

#endif
