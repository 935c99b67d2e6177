/*
 * What PAM modules may leave behind in the process that they run in: descriptors, memory,
 * threads and other rights add up until every login fails; signals, locale and file mask change
 * what later modules do. The worker looks after each login, and undoes what it can before the
 * next. Linux only, reads /proc; logs nothing.
 */
#ifndef POSTERN_AUTH_HEALTH_H
#define POSTERN_AUTH_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"

/* What a worker may have more of than at its start. Modules keep caches and connections. */
#define HEALTH_DESCRIPTOR_LIMIT 64
#define HEALTH_THREAD_LIMIT     64
#define HEALTH_MEMORY_LIMIT_MIB 64

struct health {
    unsigned long descriptors; /* below the lowest free one; ULONG_MAX: none is free */
    unsigned long threads;     /* 0: unknown */
    unsigned long memory_mib;  /* resident; 0: unknown */
    uid_t uids[3];             /* real, effective, saved */
    gid_t gids[3];
};

void health_measure(struct health *out);

/* Returns false, and writes the cause, if `now` has grown too far beyond `before`. */
#define HEALTH_CAUSE_SIZE 96
MUST_USE bool health_is_good(const struct health *before, const struct health *now,
                             char cause[static HEALTH_CAUSE_SIZE]);

/*
 * Sets what each login is to begin with: no blocked signals; SIGTERM, SIGCHLD and the like at
 * their default; the locale "C"; the file mask that the process had at the first call. The
 * signals of a terminal, SIGPIPE and SIGUSR1 and 2 do nothing to this process, by a handler: a
 * program that a module starts has their default. Returns false, with errno set, on failure.
 */
MUST_USE bool health_restore(void);

/* Once, before the first health_restore(): signals that the parent ignored get their default.
 */
void health_forget_ignored_signals(void);

#endif
