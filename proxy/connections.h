/*
 * Who is connected: how many in all and for each address, and the
 * unauthenticated in the order of their coming, so that the oldest of them
 * gives way in a full house (threat 27). Strangers whose mail is under way, at
 * an mx, are spared as long as they are no more than half of all.
 */
#ifndef POSTERN_CONNECTIONS_H
#define POSTERN_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

struct connections;
struct connection_peer;

enum connection_standing {
    CONNECTION_WAITING,
    CONNECTION_STRANGER, /* not authenticated, and its mail is under way */
    CONNECTION_AUTHENTICATED,
    CONNECTION_STANDINGS,
};

/* One connection's place; part of its session. */
struct connection {
    TAILQ_ENTRY(connection) by_age; /* among those of its standing */
    struct connection_peer *peer;   /* all from the same address share it */
    uint8_t standing;               /* enum connection_standing */
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

/* Changes what it is; an authenticated one no longer gives way. */
void connections_promote(struct connections *connections, struct connection *connection,
                         enum connection_standing standing);

unsigned connections_count(const struct connections *connections);
unsigned connections_count_from(const struct connections *connections,
                                const struct address *client);
/* Returns how many of them are CONNECTION_STRANGER: each may hold a session of a backend. */
unsigned connections_strangers_from(const struct connections *connections,
                                    const struct address *client);

/* Who gives way: the oldest that waits, or the oldest stranger where there are too many of
 * those or nobody waits, but nobody who is `spared`; NULL: all others are authenticated. */
struct connection *connections_oldest(const struct connections *connections,
                                      bool (*spared)(struct connection *connection));

/* Calls `visit` for each; it may remove the one that it is given. */
void connections_each(struct connections *connections,
                      void (*visit)(struct connection *connection, void *context),
                      void *context);

#endif
