/* GET /events: who watches, and where the events of all reactors come in for them. */
#ifndef POSTERN_ADMIN_EVENTS_H
#define POSTERN_ADMIN_EVENTS_H

#include "proxy/admin/peers.h"
#include "proxy/admin/server.h"
#include "proxy/admin/watched.h"
#include "proxy/base/compiler.h"

struct admin_events;

/* Both must outlive it. */
MUST_USE struct admin_events *
admin_events_new(struct event_base *base, struct admin_peers *peers, struct admin_watched *own);
/* Tells every reader that Postern stops. NULL is allowed. */
void admin_events_free(struct admin_events *events);

/* Ends all streams; `cause` is told. */
void admin_events_end(struct admin_events *events, const char *cause);

/* Begins a stream. */
void admin_events_watch(struct admin_events *events, struct admin_request *request);

#endif
