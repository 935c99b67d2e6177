/* Where machines share their limits: a Redis server's URL, in parts. Pure. */
#ifndef POSTERN_SHARED_PLACE_H
#define POSTERN_SHARED_PLACE_H

#include <stdbool.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

#define SHARED_WORD_SIZE 256

struct shared_place {
    struct address address;
    char user[SHARED_WORD_SIZE];     /* of Redis' ACL; empty: its default user */
    char password[SHARED_WORD_SIZE]; /* empty: none is asked for */
    unsigned database;
};

/*
 * Parses redis://[[user]:password@]host[:port][/database]: host is an IP address (IPv6 in
 * brackets) or "localhost", user and password may be percent-encoded. False sets *why, a static
 * phrase without anything of the text, as that may hold a password.
 */
MUST_USE bool shared_place_parse(const char *text, struct shared_place *out, const char **why);

#endif
