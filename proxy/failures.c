/*
 * A ring of places for each kind, each place with a number that is odd while it is written. A
 * writer takes the next place; one who finds it odd (another has come round
 * the ring meanwhile, or has died there) lets it be. A reader leaves out what
 * changed under its eyes. Called where reactors log a failure, and by the
 * administration interface; nobody waits.
 */
#include "proxy/failures.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proxy/base/clock.h"

struct place {
    uint32_t turn; /* 0: never written; odd: being written */
    struct failure failure;
};

struct ring {
    uint32_t next; /* place, modulo FAILURES_EACH */
    struct place places[FAILURES_EACH];
};

static struct ring *rings; /* one for each kind */

bool failures_share(void)
{
    void *memory = mmap(NULL, FAILURE_KINDS * sizeof *rings, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        rings = memory;
    return memory != MAP_FAILED;
}

static void put(char *out, size_t size, const char *text)
{
    size_t length = text ? strnlen(text, size - 1) : 0;
    memcpy(out, length > 0 ? text : "", length);
    memset(out + length, 0, size - length);
}

void failures_note(enum failure_kind kind, const char *listener, const char *client,
                   const char *user, const char *reason)
{
    if (!rings)
        return;
    uint32_t number = __atomic_fetch_add(&rings[kind].next, 1, __ATOMIC_RELAXED);
    struct place *place = &rings[kind].places[number % FAILURES_EACH];
    uint32_t turn = __atomic_load_n(&place->turn, __ATOMIC_RELAXED);
    if (turn % 2 != 0 || !__atomic_compare_exchange_n(&place->turn, &turn, turn + 1, false,
                                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    struct failure *failure = &place->failure;
    failure->time_ms = clock_wall_ms();
    failure->kind = kind;
    put(failure->listener, sizeof failure->listener, listener);
    put(failure->client, sizeof failure->client, client);
    put(failure->user, sizeof failure->user, user);
    put(failure->reason, sizeof failure->reason, reason);
    __atomic_store_n(&place->turn, turn + 2, __ATOMIC_RELEASE);
}

/* False: there is nothing whole in that place. */
static bool read_place(const struct place *place, struct failure *out)
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
    for (size_t i = 0; rings && i < FAILURES_LIMIT; i++)
        if (read_place(&rings[i / FAILURES_EACH].places[i % FAILURES_EACH], &out[count]))
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
