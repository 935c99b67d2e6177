/*
 * What a reactor gives to each of its sessions: the loop, the settings, and
 * the things that sessions share. One for each reactor; outlives them all.
 */
#ifndef POSTERN_SERVICE_H
#define POSTERN_SERVICE_H

#include <event2/event.h>
#include <openssl/ssl.h>
#include <stddef.h>

#include "auth/pool.h"
#include "proxy/config.h"
#include "tls/stream.h"

struct abuse;
struct connections;
struct control_client;
struct opener_client;
struct permits;
struct resolver;

/* Input of one turn is read into one shared buffer of this size. */
#define SERVICE_SCRATCH_SIZE STREAM_READ_SIZE

struct service {
    const struct config *config;
    struct event_base *base;
    struct stream_loop *streams;
    struct auth_pool *pool;
    struct abuse *abuse;              /* who tries too often */
    struct permits *permits;          /* whom the postmaster refuses, and lets in */
    struct control_client *control;   /* to the master */
    struct opener_client *opener;     /* to who opens what a reactor cannot */
    SSL_CTX *const *backend_contexts; /* by index into config->backends; NULL: without TLS */
    struct resolver *resolver;        /* NULL: no backend wants names */
    struct connections *connections;  /* who is there, and how many */
    char *scratch;                    /* SERVICE_SCRATCH_SIZE bytes, free between two turns */
    bool refusing;                    /* new connections, because a postmaster wants it so */
    bool stopping;                    /* transactions may end, nothing new begins */
};

#endif
