/*
 * Many SMTP clients at once on one epoll descriptor, each walking through the same script.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "script.h"

struct client_options {
    struct sockaddr_storage address;
    socklen_t address_size;
    const struct script *script;
    SSL_CTX *tls;           /* for those that come to TLS */
    bool implicit;          /* TLS before the greeting */
    bool resume;            /* offer the tickets of earlier connections */
    bool hold;              /* keep each session open at the script's end */
    unsigned concurrency;   /* sessions under way at once; held ones are not under way */
    unsigned sessions;      /* in all */
    unsigned failure_limit; /* give up after so many failed ones */
    uint64_t deadline_ns;   /* on the clock of client_now_ns(); what is open then has failed */
};

struct client_totals {
    unsigned ok, failed, resumed;
    unsigned peak;          /* most connections open at once */
    uint64_t *latencies_ns; /* of the `ok` ones, from connect() to the last reply */
    uint64_t handshaken;    /* TLS handshakes done */
    uint64_t wall_ns;
};

struct client;

uint64_t client_now_ns(void);

/* NULL, having said why, if there is no memory or no descriptor. The options must outlive it.
 */
struct client *client_new(const struct client_options *options);

/* Runs until every session has ended (or is held), the deadline, or too many failures. */
void client_run(struct client *client);

/* How many of the held sessions the server has closed meanwhile. */
unsigned client_count_lost(struct client *client);

const struct client_totals *client_totals(const struct client *client);

/* Closes what is open. */
void client_free(struct client *client);

#endif
