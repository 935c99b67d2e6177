/*
 * Guards of hiredis' parser of replies, which by itself bounds none, and ends the process at
 * one that nobody has asked for. Used by redis.c alone.
 */
#ifndef POSTERN_REDIS_READER_H
#define POSTERN_REDIS_READER_H

#include <hiredis/read.h>
#include <stdbool.h>

/* Bytes of a reply that may be there before it is whole. */
#define REDIS_READER_BYTES (256 * 1024)

/* From now on the reader refuses (as "Out of memory") whatever redis.h does not allow, and
 * every reply while `*unanswered` is 0. */
void redis_reader_guard(redisReader *reader, const unsigned *unanswered);

/* Has a reply grown too long? */
bool redis_reader_is_full(const redisReader *reader);

#endif
