/*
 * The latest failures, for the administration interface: a ring for each kind,
 * in memory that all reactors share (statistics_memory.h), so that they outlive
 * reloads and upgrades. Equal failures within a minute are one, with how many
 * times it has happened. Every process that has the memory can write it: a
 * reader takes nothing from there on trust but bytes.
 */
#ifndef POSTERN_FAILURES_H
#define POSTERN_FAILURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

enum failure_kind {
    FAILURE_CONNECTION, /* refused at once */
    FAILURE_HANDSHAKE,
    FAILURE_LOGIN,
    FAILURE_BACKEND, /* no session with it */
    FAILURE_LIMIT,   /* of messages, recipients, or an mx's sessions */
    FAILURE_KINDS,
};

/* As many are kept of each kind, so that those who knock at a closed door hide nothing else. */
#define FAILURES_EACH  32u
#define FAILURES_LIMIT (FAILURES_EACH * FAILURE_KINDS)

/* Equal ones are counted together for so long after the first of them. */
#define FAILURES_TOGETHER_MS 60000

/* Texts are cut where they are longer; "" is none. */
struct failure {
    int64_t time_ms; /* since 1970, of the latest */
    int64_t first_ms;
    uint32_t kind; /* below FAILURE_KINDS */
    uint32_t times;
    char listener[64];
    char client[ADDRESS_HOST_SIZE];
    char user[128]; /* as the client wrote it, any bytes but NUL */
    char reason[128];
};

/* All zero: empty. */
struct failures {
    struct failure_ring {
        uint32_t next; /* place, modulo FAILURES_EACH */
        struct failure_place {
            uint32_t turn; /* 0: never written; odd: being written */
            struct failure failure;
        } places[FAILURES_EACH];
    } rings[FAILURE_KINDS];
};

/* By the master, once, before it forks: where they are kept. Without it nothing is. */
void failures_use(struct failures *memory);

/* By any process. Each text may be NULL. */
void failures_note(enum failure_kind kind, const char *listener, const char *client,
                   const char *user, const char *reason);

/* The youngest first; returns how many. */
size_t failures_read(struct failure out[static FAILURES_LIMIT]);

/* "login" */
const char *failure_kind_name(enum failure_kind kind);

#endif
