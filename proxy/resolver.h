/*
 * Names of clients' addresses, from the DNS: the PTR record, confirmed by an
 * address record of that name that leads back (RFC 1912 section 2.1); anything
 * else is no name. Asks in the background; whoever waits has the deadline, and
 * cancels when it has come. Those who wait for the same address share a question.
 */
#ifndef POSTERN_RESOLVER_H
#define POSTERN_RESOLVER_H

#include <event2/event.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/config.h"

struct resolver;
struct resolver_request;

/*
 * Asks the given name servers, or those of /etc/resolv.conf, which is read now: call it before
 * the root changes. NULL, having logged why: there is none that could be asked.
 */
MUST_USE struct resolver *resolver_new(struct event_base *base,
                                       const struct config_texts *nameservers);
/* Forgets what is being asked. NULL is allowed. */
void resolver_free(struct resolver *resolver);

/* The name, valid during the call; NULL: there is none, or none that could be confirmed. */
typedef void resolver_callback(void *context, const char *name);

/* Never calls back before it returns. NULL: too much is being asked already, of
 * all or of the client's network, or every name server refuses to be asked. */
MUST_USE struct resolver_request *resolver_find_name(struct resolver *resolver,
                                                     const struct address *address,
                                                     resolver_callback *callback,
                                                     void *context);
/* No callback. NULL is allowed. */
void resolver_request_cancel(struct resolver_request *request);

#endif
