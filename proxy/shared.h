/*
 * Limits that machines share, through a Redis server: every level that rises
 * here is sent there, and what is known there raises it here. Nobody waits for
 * it: an answer that comes late raises the level later, one that never comes
 * not at all, and without the server this machine's own limits go on.
 *
 * There, a level is a key (abuse_level.h) that lives as long as the level is
 * not forgotten: its time to live is the level, its value the number of events
 * since it was made. Trust is a sorted set for each address: the users, by the
 * time (ms) until which they are trusted.
 */
#ifndef POSTERN_SHARED_H
#define POSTERN_SHARED_H

#include <event2/event.h>

#include "proxy/abuse_level.h"
#include "proxy/base/compiler.h"
#include "proxy/shared_place.h"

struct shared;

/* Was it built with hiredis? Without it shared_new() returns NULL. */
bool shared_supported(void);

/* Connects, and again whenever the connection is lost; says in the log when it has begun to
 * share, and when it no longer does. `limits` and `tally` must outlive it. NULL: no memory. */
MUST_USE struct shared *shared_new(struct event_base *base, const struct shared_place *place,
                                   const struct config_limits *limits, struct tally *tally);
/* NULL is allowed, here and below: nothing is shared. */
void shared_free(struct shared *shared);

/* One more of this, which is then raised to what all machines have counted. */
void shared_add(struct shared *shared, const struct abuse_level *level);
/* The same without one more. */
void shared_ask(struct shared *shared, const struct abuse_level *level);
void shared_forget(struct shared *shared, const struct abuse_level *level);

/* Whom the level is about (a kind with address and user) is trusted from now on. */
void shared_trust(struct shared *shared, const struct abuse_level *level);
/* Who is trusted at this address, so that it is known before they log in. */
void shared_ask_trusted(struct shared *shared, const struct address *client);

#endif
