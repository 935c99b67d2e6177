/*
 * The functions with which hiredis makes objects of replies, each with a check before it. The
 * server is taken for hostile: a list announces its length before it is there, and memory for
 * it would be taken at once.
 */
#include "proxy/redis_reader.h"

#include <stddef.h>
#include <stdint.h>

#include "proxy/redis.h"

/* hiredis' own. */
static const redisReplyObjectFunctions *original;

static bool is_awaited(const redisReadTask *task)
{
    const unsigned *unanswered = task->privdata;
    return *unanswered > 0;
}

static void *create_string(const redisReadTask *task, char *text, size_t length)
{
    return is_awaited(task) ? original->createString(task, text, length) : NULL;
}

static void *create_array(const redisReadTask *task, int elements)
{
    bool good = is_awaited(task) && !task->parent && elements <= REDIS_LIST_LIMIT;
    return good ? original->createArray(task, elements) : NULL;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    return is_awaited(task) ? original->createInteger(task, value) : NULL;
}

static void *create_nil(const redisReadTask *task)
{
    return is_awaited(task) ? original->createNil(task) : NULL;
}

static void free_object(void *reply)
{
    original->freeObject(reply);
}

void redis_reader_guard(redisReader *reader, const unsigned *unanswered)
{
    static redisReplyObjectFunctions guards = {create_string, create_array, create_integer,
                                               create_nil, free_object};
    if (!original)
        original = reader->fn;
    reader->fn = &guards;
    reader->privdata = (void *)(uintptr_t)unanswered;
}

bool redis_reader_is_full(const redisReader *reader)
{
    return reader->len > REDIS_READER_BYTES;
}
