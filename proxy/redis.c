/*
 * One hiredis context at a time, and one timer, which means in each state what may not last:
 *
 *   WAITING -> CONNECTING -> CHECKING -> UP
 *      ^___________|____________|________|   whatever goes wrong
 *
 * Used by shared.c. Never blocks: the address is a number, and a lost request is lost.
 */
#include "proxy/redis.h"

#include <event2/event_struct.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/redis_reader.h"
#include "proxy/statistics.h"

/* Requests without an answer, at most. */
#define UNANSWERED_LIMIT 1000u
#define ANSWER_MS        2000u
/* Between signs of life where nothing else is asked. */
#define IDLE_MS 30000u
/* Before it is connected again: doubled each time, until it has been up for long. */
#define PAUSE_FIRST_MS 1000u
#define PAUSE_LAST_MS  30000u
#define LONG_MS        60000u
#define REASON_SIZE    200

enum state { WAITING, CONNECTING, CHECKING, UP };

struct redis {
    struct event_base *base;
    const struct redis_word *check;
    size_t check_count;
    struct shared_place place;
    char name[ADDRESS_TEXT_SIZE];
    enum state state;
    redisAsyncContext *context; /* NULL when waiting */
    struct event timer;
    unsigned unanswered;
    uint32_t pause_ms;
    uint64_t up_at_ms;
    bool flooded;             /* a reply has grown too long */
    char reason[REASON_SIZE]; /* what the log was told last; empty: all is well */
};

struct pending {
    struct redis *redis;
    redis_callback *callback;
    void *request;
    bool is_secret; /* what the server says of it may repeat a password */
};

static void set_timer(struct redis *redis, uint32_t wait_ms)
{
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    evtimer_add(&redis->timer, &wait);
}

static void count_state(bool is_up)
{
    statistics_set(&statistics->sharing[STATISTICS_ALONE], is_up ? 0 : 1);
    statistics_set(&statistics->sharing[STATISTICS_SHARED], is_up ? 1 : 0);
}

/* Once for each change of the state. */
static void tell_trouble(struct redis *redis, const char *reason)
{
    if (redis->reason[0])
        return;
    snprintf(redis->reason, sizeof redis->reason, "%s", reason);
    log_warning("limits are not shared: Redis at %s: %s; this machine counts alone",
                redis->name, redis->reason);
}

/* Leaves the server, and comes back after a pause. */
static void fail(struct redis *redis, const char *reason)
{
    redisAsyncContext *context = redis->context;
    bool was_long = redis->state == UP && clock_now_ms() - redis->up_at_ms >= LONG_MS;
    if (redis->pause_ms == 0 || was_long)
        redis->pause_ms = PAUSE_FIRST_MS;
    redis->state = WAITING;
    redis->context = NULL;
    redis->flooded = false;
    count_state(false);
    tell_trouble(redis, reason);
    set_timer(redis, redis->pause_ms);
    redis->pause_ms = redis->pause_ms * 2 < PAUSE_LAST_MS ? redis->pause_ms * 2 : PAUSE_LAST_MS;
    if (context)
        redisAsyncFree(context);
}

static void refused(struct redis *redis, const struct pending *pending, const redisReply *reply)
{
    char reason[REASON_SIZE];
    if (pending->is_secret)
        snprintf(reason, sizeof reason, "refuses the password (%.*s)",
                 (int)strcspn(reply->str, " \r\n"), reply->str);
    else
        snprintf(reason, sizeof reason, "says \"%s\"", reply->str);
    if (strcmp(redis->reason, reason) != 0)
        redis->reason[0] = '\0'; /* another matter, for somebody to put right */
    fail(redis, reason);
}

static void on_reply(redisAsyncContext *context, void *argument, void *data)
{
    const redisReply *reply = argument;
    struct pending *pending = data;
    struct redis *redis = pending->redis;
    bool good = reply && reply->type != REDIS_REPLY_ERROR;

    redis->unanswered--;
    if (redis->context == context && good)
        set_timer(redis, redis->unanswered > 0 ? ANSWER_MS : IDLE_MS);
    if (pending->callback)
        pending->callback(pending->request, good ? reply : NULL);
    if (redis->context == context && reply && !good)
        refused(redis, pending, reply);
    free(pending);
}

static bool send_words(struct redis *redis, const struct redis_word *words, size_t count,
                       const struct pending *what)
{
    const char *texts[REDIS_WORDS_LIMIT];
    size_t lengths[REDIS_WORDS_LIMIT];
    struct pending *pending = malloc(sizeof *pending);
    if (!pending || count > REDIS_WORDS_LIMIT) {
        free(pending);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        texts[i] = words[i].text;
        lengths[i] = words[i].length;
    }
    *pending = *what;
    if (redisAsyncCommandArgv(redis->context, on_reply, pending, (int)count, texts, lengths) !=
        REDIS_OK) {
        free(pending);
        return false;
    }
    if (redis->unanswered++ == 0)
        set_timer(redis, ANSWER_MS);
    return true;
}

bool redis_takes(const struct redis *redis)
{
    return redis->state == UP && redis->unanswered < UNANSWERED_LIMIT;
}

bool redis_send(struct redis *redis, const struct redis_word *words, size_t count,
                redis_callback *callback, void *request)
{
    struct pending pending = {redis, callback, request, false};
    return redis_takes(redis) && send_words(redis, words, count, &pending);
}

static void on_checked(void *request, const struct redisReply *reply)
{
    struct redis *redis = request;
    if (!reply || !redis->context)
        return;
    redis->state = UP;
    redis->up_at_ms = clock_now_ms();
    count_state(true);
    redis->reason[0] = '\0';
    log_notice("limits are shared through Redis at %s", redis->name);
}

static struct redis_word word(const char *text)
{
    return (struct redis_word){text, strlen(text)};
}

static bool say_password(struct redis *redis)
{
    const struct shared_place *place = &redis->place;
    struct redis_word words[3] = {word("AUTH")};
    struct pending pending = {.redis = redis, .is_secret = true};
    size_t count = 1;
    if (!*place->password)
        return true;
    if (*place->user)
        words[count++] = word(place->user);
    words[count++] = word(place->password);
    return send_words(redis, words, count, &pending);
}

static bool choose_database(struct redis *redis)
{
    char number[16];
    struct pending pending = {.redis = redis};
    snprintf(number, sizeof number, "%u", redis->place.database);
    struct redis_word words[] = {word("SELECT"), word(number)};
    return redis->place.database == 0 || send_words(redis, words, 2, &pending);
}

static void begin_checking(struct redis *redis)
{
    struct pending pending = {.redis = redis, .callback = on_checked, .request = redis};
    redis->state = CHECKING;
    if (!say_password(redis) || !choose_database(redis) ||
        !send_words(redis, redis->check, redis->check_count, &pending))
        fail(redis, "out of memory");
}

/* hiredis frees a context that could not be connected, or was lost, behind these two. */
static void on_connected(const redisAsyncContext *context, int status)
{
    struct redis *redis = context->data;
    if (redis->context != context)
        return;
    if (status == REDIS_OK) {
        begin_checking(redis);
        return;
    }
    redis->context = NULL;
    fail(redis, context->c.errstr);
}

static void on_disconnected(const redisAsyncContext *context, int status)
{
    struct redis *redis = context->data;
    (void)status;
    if (redis->context != context)
        return;
    redis->context = NULL;
    fail(redis, context->err == REDIS_ERR_OOM ? "sent an answer of an unexpected form"
                                              : context->errstr);
}

/* In place of the adapter's: it is called behind each piece that was read. */
static void add_read(void *data)
{
    const redisLibeventEvents *events = data;
    struct redis *redis = events->context->data;
    redisLibeventAddRead(data);
    if (redis->context != events->context || !redis_reader_is_full(events->context->c.reader))
        return;
    redis->flooded = true;
    event_active(&redis->timer, EV_TIMEOUT, 0);
}

static bool prepare(struct redis *redis, redisAsyncContext *context)
{
    context->data = redis;
    redis_reader_guard(context->c.reader, &redis->unanswered);
    if (redisLibeventAttach(context, redis->base) != REDIS_OK)
        return false;
    context->ev.addRead = add_read;
    redisAsyncSetDisconnectCallback(context, on_disconnected);
    return redisAsyncSetConnectCallback(context, on_connected) == REDIS_OK;
}

static void begin_connecting(struct redis *redis)
{
    char host[ADDRESS_HOST_SIZE], reason[REASON_SIZE];
    address_host(&redis->place.address, host);
    redisAsyncContext *context = redisAsyncConnect(host, address_port(&redis->place.address));
    redis->state = CONNECTING;
    if (context && !context->err && prepare(redis, context)) {
        redis->context = context;
        set_timer(redis, ANSWER_MS);
        return;
    }
    snprintf(reason, sizeof reason, "%s",
             context && context->err ? context->errstr : "out of memory");
    if (context)
        redisAsyncFree(context);
    fail(redis, reason);
}

static void show_life(struct redis *redis)
{
    struct pending pending = {.redis = redis};
    struct redis_word ping = word("PING");
    if (!send_words(redis, &ping, 1, &pending))
        fail(redis, "out of memory");
}

static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct redis *redis = argument;
    if (redis->flooded)
        fail(redis, "sent more answers than it was asked for");
    else if (redis->state == WAITING)
        begin_connecting(redis);
    else if (redis->state == CONNECTING)
        fail(redis, "does not take the connection in time");
    else if (redis->unanswered > 0)
        fail(redis, "does not answer in time");
    else
        show_life(redis);
}

struct redis *redis_new(struct event_base *base, const struct shared_place *place,
                        const struct redis_word *check, size_t check_count)
{
    struct redis *redis = calloc(1, sizeof *redis);
    if (!redis)
        return NULL;
    redis->base = base;
    redis->place = *place;
    redis->check = check;
    redis->check_count = check_count;
    address_text(&place->address, redis->name);
    evtimer_assign(&redis->timer, base, on_timer, redis);
    set_timer(redis, 0);
    count_state(false);
    return redis;
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    redisAsyncContext *context = redis->context;
    redis->context = NULL;
    if (context)
        redisAsyncFree(context);
    event_del(&redis->timer);
    explicit_bzero(&redis->place, sizeof redis->place);
    free(redis);
}
