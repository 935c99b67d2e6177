/*
 * Which name servers refuse to be asked. A server that has stopped, or a firewall, says so at
 * once by ICMP; evdns does not hear it, as its sockets are not connected, and waits. So each
 * server has a connected socket here on which a question is sent now and then whose answer
 * nobody needs.
 */
#ifndef POSTERN_RESOLVER_WATCH_H
#define POSTERN_RESOLVER_WATCH_H

#include <event2/dns.h>
#include <event2/event.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"

struct resolver_watch;

/* All of the servers have begun to refuse: what is being asked gets no answer. */
typedef void resolver_watch_callback(void *context);

/* For the servers that `dns` has now. From then on it is given those that do not refuse. NULL:
 * no memory, or no socket. */
MUST_USE struct resolver_watch *resolver_watch_new(struct event_base *base,
                                                   struct evdns_base *dns,
                                                   resolver_watch_callback *callback,
                                                   void *context);
/* NULL is allowed. */
void resolver_watch_free(struct resolver_watch *watch);

/* Called before a question: looks, at most once in a second, whether the servers can be asked.
 * False: all of them refuse. Never calls back before it returns. */
bool resolver_watch_may_ask(struct resolver_watch *watch);

#endif
