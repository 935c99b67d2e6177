/*
 * Who is connected: how many in all and for each address, and the
 * unauthenticated in the order of their coming, so that the oldest of them
 * gives way in a full house (threat 27).
 */
#ifndef POSTERN_CONNECTIONS_H
#define POSTERN_CONNECTIONS_H

#include <stdbool.h>
#include <sys/queue.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

struct connections;
struct connection_peer;

/* One connection's place; part of its session. */
struct connection {
    TAILQ_ENTRY(connection) by_age; /* among the unauthenticated or the others */
    struct connection_peer *peer;   /* all from the same address share it */
    bool authenticated;
};

MUST_USE struct connections *connections_new(void);
void connections_free(struct connections *connections);

/* Returns false, and nothing is added, if there is no memory. */
MUST_USE bool connections_add(struct connections *connections, struct connection *connection,
                              const struct address *client);
/* It is somebody else's: counts for that address from now on, and keeps its age. Returns false,
 * and nothing changes, if there is no memory. */
MUST_USE bool connections_move(struct connections *connections, struct connection *connection,
                               const struct address *client);
void connections_remove(struct connections *connections, struct connection *connection);

/* From now on it no longer gives way. */
void connections_authenticated(struct connections *connections, struct connection *connection);

unsigned connections_count(const struct connections *connections);
unsigned connections_count_from(const struct connections *connections,
                                const struct address *client);

/* The oldest that is not authenticated; NULL: there is none. */
struct connection *connections_oldest(const struct connections *connections);

/* Calls `visit` for each; it may remove the one that it is given. */
void connections_each(struct connections *connections,
                      void (*visit)(struct connection *connection, void *context),
                      void *context);

#endif
