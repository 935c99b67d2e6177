/* The keys of session tickets in a reactor: new ones whenever a period begins. Owned by
 * reactor.c. */
#ifndef POSTERN_PROXY_REACTOR_TICKETS_H
#define POSTERN_PROXY_REACTOR_TICKETS_H

#include <event2/event_struct.h>

#include "proxy/reactor.h"

struct reactor_tickets {
    struct event timer;
    const struct reactor_settings *settings;
};

/* Sets the keys of all listeners now, and again when each period begins. */
void reactor_tickets_start(struct reactor_tickets *tickets, struct event_base *base,
                           const struct reactor_settings *settings);
void reactor_tickets_stop(struct reactor_tickets *tickets);

#endif
