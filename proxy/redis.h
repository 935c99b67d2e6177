/*
 * A connection to a Redis server that keeps itself up: hiredis on the reactor's
 * loop. It is connected again with growing pauses, a server that does not
 * answer in time is left, and what it says is bounded and checked by type.
 * Requests that cannot be sent now are dropped, not kept.
 */
#ifndef POSTERN_REDIS_H
#define POSTERN_REDIS_H

#include <event2/event.h>
#include <stddef.h>

#include "proxy/base/compiler.h"
#include "proxy/shared_place.h"

struct redis;

/* One argument of a command. */
struct redis_word {
    const char *text;
    size_t length;
};
#define REDIS_WORDS_LIMIT 8

/* A reply is an integer, a status or string, nothing, or a flat list of no more than this many
 * integers and strings. Errors end the connection, and are not handed on. */
#define REDIS_LIST_LIMIT 128

struct redisReply;
/* The reply is hiredis' own and goes when the callback returns; NULL: there will be none. */
typedef void redis_callback(void *request, const struct redisReply *reply);

/*
 * `check` is a command that is tried before the connection counts as up, so that a server which
 * would refuse the others is found out at once; it must stay. NULL: no memory.
 */
MUST_USE struct redis *redis_new(struct event_base *base, const struct shared_place *place,
                                 const struct redis_word *check, size_t check_count);
/* Calls what still waits; NULL is allowed. */
void redis_free(struct redis *redis);

/* Will a request be sent now? */
bool redis_takes(const struct redis *redis);

/* `callback` is called exactly once, unless it returns false. */
MUST_USE bool redis_send(struct redis *redis, const struct redis_word *words, size_t count,
                         redis_callback *callback, void *request);

#endif
