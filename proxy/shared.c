/*
 * What is said to Redis about levels, and what its answers do to the table here. Each request
 * is one command with one key, so that none depends on another; scripts travel with it (EVAL),
 * so that the server may forget everything at any time. What it answers is not believed beyond
 * what a level may be.
 */
#include "proxy/shared.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/redis.h"

#define HOUR_MS UINT64_C(3600000)
/* Users that are told of for one address: those who were there last. */
#define TRUSTED_LIMIT 50

/* Key; what one event takes to be forgotten, and the longest that all may take: ms. */
static const char add_script[] =
    "local left = redis.call('PTTL', KEYS[1])\n"
    "left = math.min(math.max(left, 0) + tonumber(ARGV[1]), tonumber(ARGV[2]))\n"
    "if type(redis.pcall('INCR', KEYS[1])) ~= 'number' then redis.call('SET', KEYS[1], 1) end\n"
    "redis.call('PEXPIRE', KEYS[1], left)\n"
    "return left";

#define NOW                                                                                    \
    "local time = redis.call('TIME')\n"                                                        \
    "local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"

/* Key; user, and for how long: ms. */
static const char trust_script[] =
    NOW "if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then redis.call('DEL', KEYS[1]) end\n"
        "redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])\n"
        "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)\n"
        "redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - " TEXT_OF(
            TRUSTED_LIMIT) ")\n"
                           "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
                           "return 1";

/* Key. A list: user, for how long yet in ms, user … */
static const char trusted_script[] =
    NOW "if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {} end\n"
        "local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', now, 'WITHSCORES',\n"
        "                         'LIMIT', 0, " TEXT_OF(
            TRUSTED_LIMIT) ")\n"
                           "for i = 2, #found, 2 do found[i] = found[i] - now end\n"
                           "return found";

#define WORD(text)                                                                             \
    {                                                                                          \
        text, sizeof(text) - 1                                                                 \
    }

/* Does what add_script does, and leaves nothing. */
static const struct redis_word check[] = {WORD("EVAL"),          WORD(add_script), WORD("1"),
                                          WORD("postern:check"), WORD("1"),        WORD("1")};

struct shared {
    struct redis *redis;
    const struct config_limits *limits;
    struct tally *tally;
};

/* What a reply is about. */
struct question {
    struct shared *shared;
    uint64_t key;
    uint32_t leak_per_hour, most;
    struct address client; /* whose users are asked for */
};

bool shared_supported(void)
{
    return true;
}

struct shared *shared_new(struct event_base *base, const struct shared_place *place,
                          const struct config_limits *limits, struct tally *tally)
{
    struct shared *shared = malloc(sizeof *shared);
    if (!shared)
        return NULL;
    *shared = (struct shared){NULL, limits, tally};
    shared->redis = redis_new(base, place, check, sizeof check / sizeof check[0]);
    if (shared->redis)
        return shared;
    free(shared);
    return NULL;
}

void shared_free(struct shared *shared)
{
    if (!shared)
        return;
    redis_free(shared->redis);
    free(shared);
}

/* How long one event takes to be forgotten. */
static uint64_t event_ms(uint32_t leak_per_hour)
{
    uint64_t ms = leak_per_hour > 0 ? HOUR_MS * TALLY_ONE / leak_per_hour : HOUR_MS;
    return ms > 0 ? ms : 1;
}

/* How long a level of that height takes. */
static uint64_t level_ms(uint32_t level, uint32_t leak_per_hour)
{
    return event_ms(leak_per_hour) * level / TALLY_ONE;
}

/* Raises a level to what takes so long to be forgotten; less than nothing is an answer, too. */
static void raise_level(const struct question *question, long long left_ms)
{
    uint64_t most_ms = level_ms(question->most, question->leak_per_hour);
    if (left_ms <= 0)
        return;
    uint64_t bounded_ms = (uint64_t)left_ms < most_ms ? (uint64_t)left_ms : most_ms;
    uint64_t level = bounded_ms * TALLY_ONE / event_ms(question->leak_per_hour);
    tally_raise(question->shared->tally, question->key, (uint32_t)level,
                question->leak_per_hour, clock_now_ms());
}

static void on_level(void *request, const struct redisReply *reply)
{
    struct question *question = request;
    if (reply && reply->type == REDIS_REPLY_INTEGER)
        raise_level(question, reply->integer);
    free(question);
}

static void take_trusted(struct question *question, const char *user, long long left_ms)
{
    struct abuse_level level = abuse_level(question->shared->limits, question->shared->tally,
                                           ABUSE_TRUST, &question->client, user);
    question->key = level.key;
    question->leak_per_hour = level.leak_per_hour;
    question->most = level.most;
    raise_level(question, left_ms);
}

static void on_trusted(void *request, const struct redisReply *reply)
{
    struct question *question = request;
    size_t count = reply && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        const redisReply *user = reply->element[i], *left = reply->element[i + 1];
        if (user->type == REDIS_REPLY_STRING && left->type == REDIS_REPLY_INTEGER)
            take_trusted(question, user->str, left->integer);
    }
    free(question);
}

/* The question goes with its answer. */
static void send_question(struct shared *shared, const struct redis_word *words, size_t count,
                          redis_callback *callback, const struct question *what)
{
    struct question *question = malloc(sizeof *question);
    if (!question)
        return;
    *question = *what;
    if (!redis_send(shared->redis, words, count, callback, question))
        free(question);
}

static struct question about(struct shared *shared, const struct abuse_level *level)
{
    return (struct question){.shared = shared,
                             .key = level->key,
                             .leak_per_hour = level->leak_per_hour,
                             .most = level->most};
}

void shared_add(struct shared *shared, const struct abuse_level *level)
{
    char event[24], most[24];
    if (!shared || !redis_takes(shared->redis))
        return;
    int event_length =
        snprintf(event, sizeof event, "%" PRIu64, event_ms(level->leak_per_hour));
    int most_length =
        snprintf(most, sizeof most, "%" PRIu64, level_ms(level->most, level->leak_per_hour));
    const struct redis_word words[] = {WORD("EVAL"),
                                       WORD(add_script),
                                       WORD("1"),
                                       {level->name, level->length},
                                       {event, (size_t)event_length},
                                       {most, (size_t)most_length}};
    const struct question question = about(shared, level);
    send_question(shared, words, sizeof words / sizeof words[0], on_level, &question);
}

void shared_ask(struct shared *shared, const struct abuse_level *level)
{
    if (!shared || !redis_takes(shared->redis))
        return;
    const struct redis_word words[] = {WORD("PTTL"), {level->name, level->length}};
    const struct question question = about(shared, level);
    send_question(shared, words, 2, on_level, &question);
}

void shared_forget(struct shared *shared, const struct abuse_level *level)
{
    if (!shared || !redis_takes(shared->redis))
        return;
    const struct redis_word words[] = {WORD("DEL"), {level->name, level->length}};
    (void)!redis_send(shared->redis, words, 2, NULL, NULL);
}

void shared_trust(struct shared *shared, const struct abuse_level *level)
{
    char lasts[24];
    if (!shared || !redis_takes(shared->redis))
        return;
    int length =
        snprintf(lasts, sizeof lasts, "%" PRIu64, level_ms(level->most, level->leak_per_hour));
    const struct redis_word words[] = {WORD("EVAL"),
                                       WORD(trust_script),
                                       WORD("1"),
                                       {level->name, level->user - 1},
                                       {level->name + level->user, level->length - level->user},
                                       {lasts, (size_t)length}};
    (void)!redis_send(shared->redis, words, sizeof words / sizeof words[0], NULL, NULL);
}

void shared_ask_trusted(struct shared *shared, const struct address *client)
{
    if (!shared || !redis_takes(shared->redis))
        return;
    const struct abuse_level level =
        abuse_level(shared->limits, shared->tally, ABUSE_TRUST, client, "");
    const struct redis_word words[] = {
        WORD("EVAL"), WORD(trusted_script), WORD("1"), {level.name, level.user - 1}};
    const struct question question = {.shared = shared, .client = *client};
    send_question(shared, words, sizeof words / sizeof words[0], on_trusted, &question);
}
