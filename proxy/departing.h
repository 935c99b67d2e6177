/*
 * Children of the master whose reactor has ended: they have been told to end, and may take a
 * little time. Each has a deadline, after which it is killed, so that a frozen process neither
 * outlives a reload nor keeps the master from ending.
 */
#ifndef POSTERN_DEPARTING_H
#define POSTERN_DEPARTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"

struct departing;

/* NULL: no memory. */
MUST_USE struct departing *departing_new(void);
/* Forgets all of them. NULL is allowed. */
void departing_free(struct departing *departing);

/* From clock_now_ms() + `patience_ms` on, `pid` is killed. `user`: see privileges_signal().
 * Without memory it is killed at once. */
void departing_add_worker(struct departing *departing, pid_t pid, const char *user,
                          uint64_t patience_ms);
void departing_add_opener(struct departing *departing, pid_t pid, const char *user,
                          uint64_t patience_ms);

/* A helper of reactor `owner`, which another program has started: the deadline comes with the
 * end of that reactor. */
void departing_await(struct departing *departing, pid_t pid, pid_t owner, const char *user);
void departing_owner_ended(struct departing *departing, pid_t owner);

/* For the next program: "helper 81 80 nobody", a line each; process, reactor (0: it has ended)
 * and user ("-": none). The other way round: takes what follows "helper ". False: it is none.
 */
void departing_describe_one(FILE *out, pid_t pid, pid_t owner, const char *user);
void departing_describe(const struct departing *departing, FILE *out);
MUST_USE bool departing_inherit(struct departing *departing, const char *words);

/* A child has ended. False: it is none of these. */
MUST_USE bool departing_ended(struct departing *departing, pid_t pid);

/* Kills what is overdue; returns when to call next (UINT64_MAX: no need). */
uint64_t departing_tend(struct departing *departing, uint64_t now_ms);

/* Kills auth workers now. An opener has a second more, in which it ends its programs: nobody
 * else would. */
void departing_hurry(struct departing *departing);

size_t departing_count(const struct departing *departing);

#endif
