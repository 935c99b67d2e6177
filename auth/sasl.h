/*
 * The server side of the SASL mechanisms PLAIN (RFC 4616), LOGIN
 * (draft-murchison-sasl-login) and EXTERNAL (RFC 4422 appendix A), without I/O: text lines in,
 * what to say and, at the end, a name and a password out.
 *
 *   sasl_start() ── initial response or none ──┬─> SASL_CHALLENGE ── sasl_continue() ─┐
 *                                              │        ^────────────────────────────┘
 *                                              ├─> SASL_CREDENTIALS   ask the pool
 *                                              └─> an error           answer it, exchange over
 *
 * The exchange holds secrets from the first response on: call sasl_wipe() as
 * soon as the credentials are handed on, and on every other way out. An error
 * has overwritten the password before it is returned.
 */
#ifndef POSTERN_AUTH_SASL_H
#define POSTERN_AUTH_SASL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

#define SASL_USER_LIMIT     255  /* bytes */
#define SASL_PASSWORD_LIMIT 1024 /* bytes; what PAM modules hash must not be ours to choose */

enum sasl_mechanism { SASL_PLAIN, SASL_LOGIN, SASL_EXTERNAL, SASL_MECHANISM_COUNT };

const char *sasl_mechanism_name(enum sasl_mechanism mechanism);

/* -1 if there is none of that name (any case). */
int sasl_mechanism_lookup(const char *name, size_t length);

enum sasl_status {
    SASL_CHALLENGE,   /* send "334 " and *challenge, then give the answer to sasl_continue() */
    SASL_CREDENTIALS, /* user and password are there; of EXTERNAL, the user that the client
                         wants to be, or "" for whoever it is known as */
    SASL_CANCELLED,   /* the client sent "*": 501 5.7.0 (RFC 4954 section 4) */
    SASL_MALFORMED,   /* bad base64, a control character in a name, NUL in a password, one of
                         them over-long, no name: 501 5.5.2; `fault` says what, and `user` stays
                         for the log if it was a name */
    SASL_EMPTY,       /* well formed but for a password of no bytes, with which nobody may log
                         in: 535 5.7.8; `user` and `fault` stay */
    SASL_REFUSED,     /* well formed, but an authorization identity that is not the user's own:
                         535 5.7.8; `user` stays for the log */
};

struct sasl {
    uint8_t mechanism; /* enum sasl_mechanism */
    uint8_t step;
    char user[SASL_USER_LIMIT + 1];
    char password[SASL_PASSWORD_LIMIT + 1];
    const char *fault; /* of SASL_MALFORMED and SASL_EMPTY: what is wrong; static text */
};

/*
 * Begins an exchange. `initial` is the initial response as it stood in the AUTH command, in
 * base64; "=" is the empty one; NULL means that there was none. `*challenge` is static text in
 * base64 (may be empty) when the status is SASL_CHALLENGE.
 */
MUST_USE enum sasl_status sasl_start(struct sasl *sasl, enum sasl_mechanism mechanism,
                                     const char *initial, size_t length,
                                     const char **challenge);

/* The client's answer to a challenge, in base64, without its line end. */
MUST_USE enum sasl_status sasl_continue(struct sasl *sasl, const char *line, size_t length,
                                        const char **challenge);

/*
 * May this be somebody's name? 1 to SASL_USER_LIMIT bytes without control characters; whether
 * such a user exists is PAM's business.
 */
bool sasl_name_valid(const char *name, size_t length);

/* Overwrites everything. */
void sasl_wipe(struct sasl *sasl);

#endif
