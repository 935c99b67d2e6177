/*
 * A ring of places for each kind, each place with a number that is odd while it is written. A
 * writer looks for an equal failure of the same minute, and takes the next place if there is
 * none; a place that is odd (another process has come round the ring meanwhile, or has died
 * there) is left as it is. A reader leaves out what changed while it was copied. Called where
 * reactors log a failure, and by the administration interface; never waits.
 */
#include "proxy/failures.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/clock.h"

static struct failures *kept; /* NULL: nothing is kept */

void failures_use(struct failures *memory)
{
    kept = memory;
}

static void put(char *out, size_t size, const char *text)
{
    size_t length = text ? strnlen(text, size - 1) : 0;
    memcpy(out, length > 0 ? text : "", length);
    memset(out + length, 0, size - length);
}

/* Has it happened already, within the minute of this place? */
static bool is_repeated(const struct failure *before, const struct failure *now)
{
    return before->times > 0 && before->times < UINT32_MAX && before->kind == now->kind &&
           now->time_ms - before->first_ms >= 0 &&
           now->time_ms - before->first_ms < FAILURES_TOGETHER_MS &&
           memcmp(before->client, now->client, sizeof now->client) == 0 &&
           memcmp(before->listener, now->listener, sizeof now->listener) == 0 &&
           memcmp(before->user, now->user, sizeof now->user) == 0 &&
           memcmp(before->reason, now->reason, sizeof now->reason) == 0;
}

/* False: another process writes there, or has died there. */
static bool begin_writing(struct failure_place *place, uint32_t *turn)
{
    *turn = __atomic_load_n(&place->turn, __ATOMIC_RELAXED);
    return *turn % 2 == 0 && __atomic_compare_exchange_n(&place->turn, turn, *turn + 1, false,
                                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Between the two looks another process may have written something else there. */
static bool count_again(struct failure_place *place, const struct failure *now)
{
    uint32_t turn;
    if (!is_repeated(&place->failure, now) || !begin_writing(place, &turn))
        return false;
    bool same = is_repeated(&place->failure, now);
    if (same) {
        place->failure.times++;
        place->failure.time_ms = now->time_ms;
    }
    __atomic_store_n(&place->turn, turn + 2, __ATOMIC_RELEASE);
    return same;
}

static void write_new(struct failure_ring *ring, const struct failure *failure)
{
    uint32_t turn, number = __atomic_fetch_add(&ring->next, 1, __ATOMIC_RELAXED);
    struct failure_place *place = &ring->places[number % FAILURES_EACH];
    if (!begin_writing(place, &turn))
        return;
    place->failure = *failure;
    __atomic_store_n(&place->turn, turn + 2, __ATOMIC_RELEASE);
}

void failures_note(enum failure_kind kind, const char *listener, const char *client,
                   const char *user, const char *reason)
{
    struct failure failure = {.kind = kind, .times = 1, .time_ms = clock_wall_ms()};
    if (!kept)
        return;
    failure.first_ms = failure.time_ms;
    put(failure.listener, sizeof failure.listener, listener);
    put(failure.client, sizeof failure.client, client);
    put(failure.user, sizeof failure.user, user);
    put(failure.reason, sizeof failure.reason, reason);
    for (size_t i = 0; i < FAILURES_EACH; i++)
        if (count_again(&kept->rings[kind].places[i], &failure))
            return;
    write_new(&kept->rings[kind], &failure);
}

/* False: there is nothing whole in that place. */
static bool read_place(const struct failure_place *place, struct failure *out)
{
    uint32_t before = __atomic_load_n(&place->turn, __ATOMIC_ACQUIRE);
    *out = place->failure;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (before == 0 || before % 2 != 0 ||
        __atomic_load_n(&place->turn, __ATOMIC_RELAXED) != before)
        return false;
    out->listener[sizeof out->listener - 1] = '\0';
    out->client[sizeof out->client - 1] = '\0';
    out->user[sizeof out->user - 1] = '\0';
    out->reason[sizeof out->reason - 1] = '\0';
    return out->kind < FAILURE_KINDS;
}

static int compare_time(const void *a, const void *b)
{
    int64_t first = ((const struct failure *)a)->time_ms;
    int64_t second = ((const struct failure *)b)->time_ms;
    return (first < second) - (first > second);
}

size_t failures_read(struct failure out[static FAILURES_LIMIT])
{
    size_t count = 0;
    for (size_t i = 0; kept && i < FAILURES_LIMIT; i++)
        if (read_place(&kept->rings[i / FAILURES_EACH].places[i % FAILURES_EACH], &out[count]))
            count++;
    qsort(out, count, sizeof *out, compare_time);
    return count;
}

const char *failure_kind_name(enum failure_kind kind)
{
    static const char *const names[FAILURE_KINDS] = {
        [FAILURE_CONNECTION] = "connection", [FAILURE_HANDSHAKE] = "handshake",
        [FAILURE_LOGIN] = "login",           [FAILURE_BACKEND] = "backend",
        [FAILURE_LIMIT] = "limit",
    };
    return names[kind];
}
