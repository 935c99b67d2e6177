/*
 * What every session of a load says, made once: a row for each step, with the bytes to send and
 * the code that the reply must have.
 */
#ifndef BENCH_SCRIPT_H
#define BENCH_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

struct script_step {
    const char *name; /* for complaints */
    const char *send; /* NULL: only wait for a reply */
    size_t size;
    int expect;
    bool then_tls; /* after the reply comes a TLS handshake */
};

struct script_options {
    const char *login; /* user:password for AUTH PLAIN; NULL: no AUTH */
    size_t message_bytes;
    unsigned messages;
    bool starttls;
    bool ehlo_after_auth;
    bool quit;
};

struct script {
    struct script_step *steps;
    size_t count;
    char *auth;    /* owned text of AUTH */
    char *message; /* owned text of a message, ended */
};

/* False, having said why, if memory is short or the login is malformed. */
bool script_init(struct script *script, const struct script_options *options);

void script_clear(struct script *script);

#endif
