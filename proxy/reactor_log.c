/*
 * A message's line waits for its session's, so that both leave in one write. A client that
 * stays connected is waited for no longer than HOLD_S. Called by reactor.c; owns a timer.
 */
#include "proxy/reactor_log.h"

#include <event2/event_struct.h>

#include "proxy/base/log.h"

#define HOLD_S 1

static struct event timer;

static void on_timer(int fd, short what, void *unused)
{
    (void)fd, (void)what, (void)unused;
    log_flush();
}

/* The timer stays when a line has left with the next one: it is cheaper to let it ring. */
static void on_held(void *unused)
{
    (void)unused;
    struct timeval wait = {HOLD_S, 0};
    if (!evtimer_pending(&timer, NULL))
        evtimer_add(&timer, &wait);
}

void reactor_log_begin(struct event_base *base)
{
    evtimer_assign(&timer, base, on_timer, NULL);
    log_on_held(on_held, NULL);
}

void reactor_log_end(void)
{
    log_on_held(NULL, NULL);
    event_del(&timer);
}
