/*
 * The credentials that one client has tried in vain, for as long as its session lasts. Clients
 * repeat a wrong password with another mechanism at once: PAM is asked once, and it is one
 * failed login. Kept as keyed hashes (base/hash.h), never as passwords.
 */
#ifndef POSTERN_AUTH_REFUSED_H
#define POSTERN_AUTH_REFUSED_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

#define REFUSED_LIMIT 4 /* the latest ones */

struct refused {
    uint64_t hashes[REFUSED_LIMIT]; /* 0: none */
    unsigned next;
};

/* The hash of a name and a password, under a key that this process has made for itself; 0,
 * which is never among the refused, if there is no random number to be had. */
uint64_t refused_hash(const char *user, const char *password);

MUST_USE bool refused_has(const struct refused *refused, uint64_t hash);
void refused_add(struct refused *refused, uint64_t hash);

#endif
