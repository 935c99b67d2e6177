/*
 * Places in shared memory, each with a version that is odd while it is written: who reads takes
 * a copy, and what is being changed counts as not there. Nobody waits, so a process that is
 * killed in the middle costs one place, and nothing else.
 */
#include "proxy/permits.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 3

struct place {
    uint32_t version;
    struct permit permit; /* until_ms 0: free */
};

/* What another program's table must begin with; the number changes with the shape. */
static const char shape[16] = "postern permit2";

struct table {
    char shape[sizeof shape];
    uint32_t used; /* places from the beginning that have ever been */
    struct place places[PERMITS_LIMIT];
};

/* This process's own, which no other can change. */
struct permits {
    int descriptor;
    struct table *table;
};

/* NULL: it cannot be, and the descriptor stays the caller's. */
static struct permits *map(int descriptor)
{
    struct permits *permits = malloc(sizeof *permits);
    if (!permits)
        return NULL;
    void *memory =
        mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    *permits = (struct permits){descriptor, memory};
    if (memory != MAP_FAILED)
        return permits;
    free(permits);
    return NULL;
}

static void unmap(struct permits *permits)
{
    munmap(permits->table, sizeof *permits->table);
    free(permits);
}

struct permits *permits_new(void)
{
    int descriptor = memfd_create("postern-permits", MFD_CLOEXEC);
    if (descriptor < 0)
        return NULL;
    struct permits *permits =
        ftruncate(descriptor, sizeof(struct table)) == 0 ? map(descriptor) : NULL;
    if (!permits) {
        close(descriptor);
        return NULL;
    }
    memcpy(permits->table->shape, shape, sizeof shape);
    return permits;
}

int permits_descriptor(const struct permits *permits)
{
    return permits->descriptor;
}

struct permits *permits_adopt(int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) < 0 || status.st_size != sizeof(struct table) ||
        fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0)
        return NULL;
    struct permits *permits = map(descriptor);
    if (!permits)
        return NULL;
    if (memcmp(permits->table->shape, shape, sizeof shape) == 0)
        return permits;
    unmap(permits);
    return NULL;
}

void permits_free(struct permits *permits)
{
    if (!permits)
        return;
    close(permits->descriptor);
    unmap(permits);
}

/* What a log, an argument of a program and XCLIENT may hold as a login. */
static bool is_user(const char *user)
{
    size_t length = strnlen(user, PERMIT_USER_SIZE);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)user[i] <= ' ' || (unsigned char)user[i] >= 0x7f)
            return false;
    return length < PERMIT_USER_SIZE;
}

/* A copy of what is there as a whole, and perhaps its version. What another process wrote is
 * not believed to be what this one would write. */
static bool read_place(const struct place *place, struct permit *out, uint32_t *version)
{
    for (unsigned i = 0; i < TRIES; i++) {
        uint32_t before = __atomic_load_n(&place->version, __ATOMIC_ACQUIRE);
        memcpy(out, &place->permit, sizeof *out);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (before % 2 != 0 || __atomic_load_n(&place->version, __ATOMIC_RELAXED) != before)
            continue;
        if (version)
            *version = before;
        return out->network.bits <= 128 && is_user(out->user);
    }
    return false;
}

/* In place of what was read with that version. */
static bool write_place(struct place *place, uint32_t version, const struct permit *permit)
{
    uint32_t expected = version;
    if (!__atomic_compare_exchange_n(&place->version, &expected, version + 1, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    place->permit = *permit;
    __atomic_store_n(&place->version, version + 2, __ATOMIC_RELEASE);
    return true;
}

static size_t places_used(const struct permits *permits)
{
    uint32_t used = __atomic_load_n(&permits->table->used, __ATOMIC_ACQUIRE);
    return used < PERMITS_LIMIT ? used : PERMITS_LIMIT;
}

static bool holds(const struct permit *permit, uint64_t now_ms)
{
    return permit->until_ms > now_ms;
}

static bool is_about(const struct permit *permit, enum permit_kind kind,
                     const struct network *network)
{
    return permit->kind == kind && permit->network.bits == network->bits &&
           memcmp(permit->network.bytes, network->bytes, sizeof network->bytes) == 0;
}

/* Twice as many bits are of IPv6. */
static bool is_wider(const struct network *network, unsigned bits)
{
    return network_prefix(network) < (network_is_v4(network) ? bits : 2 * bits);
}

static const char *fault_of(const struct permit *order, uint64_t now_ms)
{
    if (!is_user(order->user))
        return "the user is no login: up to 255 letters, without spaces";
    if (order->kind == PERMIT_DENY && *order->user)
        return "a refused address has no user";
    if (is_wider(&order->network, order->kind == PERMIT_ALLOW ? 16 : 8))
        return order->kind == PERMIT_ALLOW
                   ? "no more than a /16, or a /32 of IPv6, is let in at once"
                   : "no more than a /8, or a /16 of IPv6, is refused at once: to refuse "
                     "everybody for a while there is drain";
    if (!holds(order, now_ms) ||
        order->until_ms - now_ms > UINT64_C(1000) * PERMIT_SECONDS_LIMIT)
        return "the time is from a second to a year";
    return NULL;
}

static bool put(struct permits *permits, const struct permit *order, uint64_t now_ms)
{
    struct permit there;
    uint32_t version;
    for (uint32_t i = 0; i < PERMITS_LIMIT; i++) {
        struct place *place = &permits->table->places[i];
        if (!read_place(place, &there, &version) || holds(&there, now_ms) ||
            !write_place(place, version, order))
            continue;
        uint32_t used = __atomic_load_n(&permits->table->used, __ATOMIC_RELAXED);
        while (used < i + 1 &&
               !__atomic_compare_exchange_n(&permits->table->used, &used, i + 1, false,
                                            __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        return true;
    }
    return false;
}

bool permits_add(struct permits *permits, const struct permit *order, uint64_t now_ms,
                 const char **why)
{
    *why = fault_of(order, now_ms);
    if (*why)
        return false;
    (void)!permits_revoke(permits, order->kind, &order->network, now_ms);
    if (put(permits, order, now_ms))
        return true;
    *why = "there are too many already";
    return false;
}

bool permits_revoke(struct permits *permits, enum permit_kind kind,
                    const struct network *network, uint64_t now_ms)
{
    static const struct permit nothing;
    struct permit there;
    uint32_t version;
    bool found = false;
    for (size_t i = 0; i < places_used(permits); i++)
        if (read_place(&permits->table->places[i], &there, &version) &&
            is_about(&there, kind, network) && holds(&there, now_ms))
            found |= write_place(&permits->table->places[i], version, &nothing);
    return found;
}

bool permits_find(const struct permits *permits, enum permit_kind kind,
                  const struct address *address, uint64_t now_ms, struct permit *out)
{
    struct permit there, best = {0};
    bool found = false;
    for (size_t i = 0; permits && i < places_used(permits); i++) {
        if (!read_place(&permits->table->places[i], &there, NULL) || there.kind != kind ||
            !holds(&there, now_ms) || !network_contains(&there.network, address) ||
            (found && there.network.bits < best.network.bits))
            continue;
        best = there;
        found = true;
    }
    if (found && out)
        *out = best;
    return found;
}

size_t permits_list(const struct permits *permits, uint64_t now_ms,
                    struct permit out[static PERMITS_LIMIT])
{
    size_t count = 0;
    for (size_t i = 0; i < places_used(permits); i++)
        if (read_place(&permits->table->places[i], &out[count], NULL) &&
            holds(&out[count], now_ms))
            count++;
    return count;
}
