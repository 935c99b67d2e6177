/*
 * What Postern counts: one table of metrics (statistics.c), and one block of
 * numbers for each process that counts, in memory that all of them share. A
 * process writes to its own block only, with plain additions; who wants to
 * know adds the blocks up. What an ended process has counted is kept, so that
 * no counter ever goes back.
 *
 * To add a metric: a field in struct statistics, a row in statistics.c, a
 * paragraph in postern-metrics(7), and a statistics_add() where it happens.
 */
#ifndef POSTERN_STATISTICS_H
#define POSTERN_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "auth/sasl.h"
#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/replies.h"
#include "proxy/session.h"

/* Listeners and backends have figures of their own up to this many names; the last place is for
 * all others. */
#define STATISTICS_NAMES 64u

#define STATISTICS_TLS_VERSIONS 5u
#define STATISTICS_CIPHERS      14u

enum statistics_login {
    STATISTICS_LOGIN_ACCEPTED,
    STATISTICS_LOGIN_REJECTED,
    STATISTICS_LOGIN_UNAVAILABLE,
    STATISTICS_LOGIN_MALFORMED,
    STATISTICS_LOGIN_PUT_OFF,
    STATISTICS_LOGIN_REPEATED,
    STATISTICS_LOGINS,
};

enum statistics_open {
    STATISTICS_OPEN_DONE,
    STATISTICS_OPEN_UNREACHABLE,
    STATISTICS_OPEN_SILENT,
    STATISTICS_OPEN_UNWILLING,
    STATISTICS_OPEN_NO_IDENTITY,
    STATISTICS_OPEN_OTHER,
    STATISTICS_OPENS,
};

enum statistics_limit {
    STATISTICS_LIMIT_CONNECTIONS,
    STATISTICS_LIMIT_DENIED,
    STATISTICS_LIMIT_PER_ADDRESS,
    STATISTICS_LIMIT_PER_MINUTE,
    STATISTICS_LIMIT_MX_SESSIONS,
    STATISTICS_LIMIT_GAVE_WAY,
    STATISTICS_LIMIT_ERRORS,
    STATISTICS_LIMIT_ATTEMPTS,
    STATISTICS_LIMIT_AUTH_QUEUE,
    STATISTICS_LIMIT_FAILED_ADDRESS,
    STATISTICS_LIMIT_FAILED_NETWORK,
    STATISTICS_LIMIT_FAILED_USER,
    STATISTICS_LIMIT_MESSAGES,
    STATISTICS_LIMIT_RECIPIENTS,
    STATISTICS_LIMIT_RATE,
    STATISTICS_LIMIT_TIME_HANDSHAKE,
    STATISTICS_LIMIT_TIME_GREETING,
    STATISTICS_LIMIT_TIME_LOGIN,
    STATISTICS_LIMIT_TIME_IDLE,
    STATISTICS_LIMIT_TIME_MX_IDLE,
    STATISTICS_LIMIT_TIME_BACKEND,
    STATISTICS_LIMIT_DRAINING,
    STATISTICS_LIMIT_MEMORY,
    STATISTICS_LIMITS,
};

/* "connections_per_address" */
const char *statistics_limit_name(enum statistics_limit limit);

enum statistics_reload {
    STATISTICS_RELOAD_DONE,
    STATISTICS_RELOAD_REFUSED,
    STATISTICS_RELOADS
};

enum statistics_child {
    STATISTICS_CHILD_REACTOR,
    STATISTICS_CHILD_WORKER,
    STATISTICS_CHILD_OPENER,
    STATISTICS_CHILDREN,
};

/* Auth workers by what they do. */
enum statistics_worker {
    STATISTICS_WORKER_IDLE,
    STATISTICS_WORKER_BUSY,
    STATISTICS_WORKER_ABSENT,
    STATISTICS_WORKERS,
};

#define STATISTICS_BUCKETS 13u /* the last has no bound */
struct statistics_histogram {
    uint64_t buckets[STATISTICS_BUCKETS]; /* each value is in one of them */
    uint64_t sum_ms;
};

enum statistics_sharing { STATISTICS_ALONE, STATISTICS_SHARED, STATISTICS_SHARINGS };

struct statistics {
    uint64_t connections[STATISTICS_NAMES];   /* by statistics_listener() */
    uint64_t health_checks[STATISTICS_NAMES]; /* of these; likewise */
    uint64_t sessions[SESSION_STATES];
    uint64_t handshakes[STATISTICS_TLS_VERSIONS][STATISTICS_CIPHERS][2];
    uint64_t handshake_failures;
    uint64_t kernel_sessions;
    uint64_t logins[SASL_MECHANISM_COUNT][STATISTICS_LOGINS];
    struct statistics_histogram login_duration;
    uint64_t logins_waiting;
    uint64_t auth_workers[STATISTICS_WORKERS];
    uint64_t opens[STATISTICS_NAMES][STATISTICS_OPENS]; /* by statistics_backend() */
    struct statistics_histogram open_duration[STATISTICS_NAMES];
    uint64_t messages;
    uint64_t recipients[2]; /* accepted, refused by Postern */
    uint64_t bytes[2];      /* from clients, to clients; inside TLS */
    uint64_t rejected[REPLY_COUNT];
    uint64_t repaired;
    uint64_t figures_refused; /* connections to them */
    uint64_t limits[STATISTICS_LIMITS];
    uint64_t sharing[STATISTICS_SHARINGS]; /* reactors that are to share limits, by success */
    uint64_t log_lost;                     /* added to by log.c */
    uint64_t reloads[STATISTICS_RELOADS];
    uint64_t children_lost[STATISTICS_CHILDREN];
};

/* This process's block; until statistics_use() one that nobody else sees. */
extern struct statistics *statistics;

/* One writer and many readers: no reader sees half a number. */
static inline void statistics_add(uint64_t *cell, uint64_t by)
{
    __atomic_store_n(cell, *cell + by, __ATOMIC_RELAXED);
}

static inline void statistics_subtract(uint64_t *gauge, uint64_t by)
{
    __atomic_store_n(gauge, *gauge - by, __ATOMIC_RELAXED);
}

static inline void statistics_set(uint64_t *gauge, uint64_t value)
{
    __atomic_store_n(gauge, value, __ATOMIC_RELAXED);
}

void statistics_observe(struct statistics_histogram *histogram, uint64_t elapsed_ms);

/* A handshake is done; the names are OpenSSL's. */
void statistics_add_handshake(const char *version, const char *cipher, bool resumed);

/* The place of a listener's or backend's figures. */
unsigned statistics_listener(const char *name);
unsigned statistics_backend(const char *name);
/* Gives the names of a configuration their places, for good. Before reactors are forked. */
void statistics_name(const struct config *config);

/* The names in their places, for another program to go on with. What is read may be anything,
 * and change meanwhile. */
#define STATISTICS_NAME_SIZE 64
struct statistics_names {
    char listeners[STATISTICS_NAMES][STATISTICS_NAME_SIZE];
    char backends[STATISTICS_NAMES][STATISTICS_NAME_SIZE];
};
void statistics_write_names(struct statistics_names *out);
void statistics_read_names(const struct statistics_names *names);

/* The same number for the same metrics with the same labels. */
uint64_t statistics_shape(void);

enum statistics_type { STATISTICS_COUNTER, STATISTICS_GAUGE, STATISTICS_HISTOGRAM };

#define STATISTICS_LABELS 3u
struct statistics_label {
    const char *name;                    /* NULL: no more labels */
    const char *(*word)(unsigned index); /* NULL: not in use */
    unsigned count;
};

/* A metric. Its cells stand in the order of its labels, the last one running fastest. */
struct statistics_row {
    const char *name, *help;
    enum statistics_type type;
    size_t offset, size; /* of the field in struct statistics, bytes; size 0: see metrics.h */
    struct statistics_label labels[STATISTICS_LABELS];
    bool is_sparse; /* cells that are zero are not shown */
};

/* The rows, `*count` of them. */
const struct statistics_row *statistics_rows(size_t *count);

/* The upper bounds of the buckets, in milliseconds, without the last. */
extern const uint32_t statistics_bounds_ms[STATISTICS_BUCKETS - 1];

#endif
