/*
 * How much of something there has been of late, for each of very many: levels
 * that rise by events and sink with time, as in a bucket with a hole. One
 * table of fixed size in memory that all reactors share, over reloads too;
 * each change is one atomic operation. When a place is taken, the lowest level
 * of its neighbours is forgotten, or one that has not risen for 15 days: a
 * table that is too small forgives too early, and never blames the wrong one
 * (but for one chance in 2^64).
 */
#ifndef POSTERN_TALLY_H
#define POSTERN_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

struct tally;

/* A level's unit is a thousandth of an event. */
#define TALLY_ONE         1000u
#define TALLY_LEVEL_LIMIT (UINT32_MAX / 2)

/* Room for `places` (rounded up to a power of two); processes that are forked later share it.
 * NULL: no memory. */
MUST_USE struct tally *tally_new(size_t places);
/* The memory as a descriptor, which stays the tally's, and a tally from another program's,
 * which takes it over; NULL: it is not one. */
int tally_descriptor(const struct tally *tally);
MUST_USE struct tally *tally_adopt(int descriptor);

/* In this process; NULL is allowed. */
void tally_free(struct tally *tally);

/* Names what is counted: `kind` keeps the same bytes apart in different roles. */
uint64_t tally_key(const struct tally *tally, unsigned kind, const void *bytes, size_t length);

/*
 * A level at `now_ms` (clock_now_ms()), which sinks by `leak_per_hour` thousandths. Callers who
 * mean the same key give the same leak.
 */
uint32_t tally_level(const struct tally *tally, uint64_t key, uint32_t leak_per_hour,
                     uint64_t now_ms);

/* Raises it; returns the new level, at most TALLY_LEVEL_LIMIT. */
uint32_t tally_add(struct tally *tally, uint64_t key, uint32_t amount, uint32_t leak_per_hour,
                   uint64_t now_ms);

/* Raises it to `level` if it is lower: what another machine knows. */
void tally_raise(struct tally *tally, uint64_t key, uint32_t level, uint32_t leak_per_hour,
                 uint64_t now_ms);

/* Forgets it. */
void tally_clear(struct tally *tally, uint64_t key);

#endif
