/*
 * What a postmaster has ordered for a while about addresses and networks: to
 * refuse them, or to let them send without AUTH (as POP-before-SMTP does, for
 * devices that cannot log in). One table of fixed size in memory that all
 * reactors share, over reloads and upgrades; a restart of the whole forgets it.
 */
#ifndef POSTERN_PERMITS_H
#define POSTERN_PERMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/base/network.h"

struct permits;

/* Orders at once. */
#define PERMITS_LIMIT        256u
#define PERMIT_USER_SIZE     256
#define PERMIT_SECONDS_LIMIT (366u * 24 * 3600)

enum permit_kind { PERMIT_DENY, PERMIT_ALLOW };

struct permit {
    enum permit_kind kind;
    struct network network;
    uint64_t until_ms;           /* clock_now_ms() */
    char user[PERMIT_USER_SIZE]; /* as whom they send; empty: each as its own address */
};

/* Processes that are forked later share it. NULL: no memory. */
MUST_USE struct permits *permits_new(void);
/* The memory as a descriptor, which stays the table's, and a table from another program's,
 * which takes it over; NULL: it is not one. */
int permits_descriptor(const struct permits *permits);
MUST_USE struct permits *permits_adopt(int descriptor);
/* In this process; NULL is allowed. */
void permits_free(struct permits *permits);

/*
 * Adds an order, in place of one of the same kind about the same network. Returns false and
 * sets *why (a static phrase) if its user cannot be one, its network is wider than a
 * postmaster can mean, its time has passed or is more than
 * PERMIT_SECONDS_LIMIT ahead of `now_ms`, or there are too many.
 */
MUST_USE bool permits_add(struct permits *permits, const struct permit *order, uint64_t now_ms,
                          const char **why);

/* Takes back what was ordered of this kind about this network. False: nothing was. */
MUST_USE bool permits_revoke(struct permits *permits, enum permit_kind kind,
                             const struct network *network, uint64_t now_ms);

/* The order about the smallest network with this address; false: there is none. `permits` and
 * `out` may be NULL. */
MUST_USE bool permits_find(const struct permits *permits, enum permit_kind kind,
                           const struct address *address, uint64_t now_ms, struct permit *out);

/* Copies what holds now; returns how many. */
size_t permits_list(const struct permits *permits, uint64_t now_ms,
                    struct permit out[static PERMITS_LIMIT]);

#endif
