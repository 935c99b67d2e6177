/*
 * What limits count, and how it is named: for each kind whom it is about,
 * where its limit stands in the configuration, and how fast it is forgotten.
 * A level's name is a text; its key in the table is a hash of that, and
 * machines that share their limits know it by the name itself. Pure.
 */
#ifndef POSTERN_ABUSE_LEVEL_H
#define POSTERN_ABUSE_LEVEL_H

#include "proxy/base/address.h"
#include "proxy/config.h"
#include "proxy/tally.h"

enum abuse_kind {
    ABUSE_CONNECTIONS,
    ABUSE_FAILED_ADDRESS, /* logins */
    ABUSE_FAILED_NETWORK,
    ABUSE_FAILED_USER,
    ABUSE_TRUST,          /* of an address in a user: both have just been right together */
    ABUSE_TRUSTED_FAILED, /* since then: what a user may mistype */
    ABUSE_MESSAGES,
    ABUSE_RECIPIENTS,
    ABUSE_UNDECIDED_ADDRESS, /* logins that PAM could not decide */
    ABUSE_UNDECIDED_USER,
    ABUSE_TRUSTED_GUESSED, /* as ABUSE_TRUSTED_FAILED: more than a user would mistype */
    ABUSE_KIND_COUNT,      /* a new kind comes before this, as tables outlive an upgrade */
};

/* How soon at the latest a mistake of a trusted user is forgotten, and how many times
 * failed_logins of them are forgotten that soon. */
#define ABUSE_MISTAKE_MS 60000u
#define ABUSE_MISTAKES   3u
/* A user name counts as far as this. */
#define ABUSE_USER_LIMIT 255
/* Logins in a row that PAM could not decide; a further one counts as a failed login. */
#define ABUSE_UNDECIDED_LIMIT 3u
/* "postern:", the kind, an address and a user. */
#define ABUSE_NAME_SIZE 384

struct abuse_level {
    uint64_t key;           /* in the table */
    uint32_t leak_per_hour; /* thousandths, as the table's levels */
    uint32_t limit;         /* 0: there is none, and nothing is counted */
    uint32_t most;          /* it rises no higher */
    size_t length;          /* of the name, which may hold any bytes but NUL */
    size_t user;            /* where the user begins in it, behind a colon; 0: there is none */
    char name[ABUSE_NAME_SIZE];
};

/* Names that differ in case are one: an attacker would have as many trials as letters. An
 * address is that of one client as address_key() sees it. What a kind is not about is not
 * looked at, and may be NULL. */
struct abuse_level abuse_level(const struct config_limits *limits, const struct tally *tally,
                               enum abuse_kind kind, const struct address *client,
                               const char *user);

#endif
