/* What a hostile Redis says, in two pieces: hiredis' reader behind our guards never makes an
 * object beyond what redis.h allows, and none that nobody has asked for. */
#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "proxy/redis.h"
#include "proxy/redis_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void examine(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    if (reply->elements > REDIS_LIST_LIMIT)
        abort();
    for (size_t i = 0; i < reply->elements; i++)
        if (!reply->element[i] || reply->element[i]->type == REDIS_REPLY_ARRAY)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    unsigned unanswered = data[0] % 8;
    size_t first = data[1] % size;
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    redis_reader_guard(reader, &unanswered);
    redisReaderFeed(reader, (const char *)data + 2, first > 2 ? first - 2 : 0);
    for (int pieces = 0; pieces < 2; pieces++) {
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
            if (unanswered-- == 0)
                abort();
            examine(reply);
            reader->fn->freeObject(reply);
        }
        redisReaderFeed(reader, (const char *)data + first, size - first);
    }
    redisReaderFree(reader);
    return 0;
}
