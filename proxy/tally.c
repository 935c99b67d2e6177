/*
 * A set-associative table in shared memory. A place is its key and one word with level and time
 * together, so that both change at once; whoever loses a race tries again a bounded number of
 * times, and then lets it be: what counts is the order of magnitude.
 */
#include "proxy/tally.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/hash.h"

/* A cache line. */
#define NEIGHBOURS 4
#define TRIES      16
/* Time is kept in tenths of a second: 13 years of them. */
#define TICK_MS        100u
#define TICKS_PER_HOUR 36000u
/* Without an event; what lasts longest by itself is a success's protection, two weeks. */
#define TICKS_UNTIL_STALE (15u * 24 * TICKS_PER_HOUR)

struct place {
    uint64_t key;   /* 0: free */
    uint64_t value; /* level << 32 | ticks */
};

/* What another program's table must begin with; the number changes with the shape. */
static const char shape[16] = "postern tally 2";

struct table {
    char shape[sizeof shape];
    uint8_t hash_key[HASH_KEY_SIZE];
    struct place places[] __attribute__((aligned(64)));
};

/* This process's own, which no other can change. */
struct tally {
    int descriptor;
    size_t bytes;
    uint64_t sets; /* a power of two */
    struct table *table;
};

static size_t bytes_of(uint64_t sets)
{
    return sizeof(struct table) + sets * NEIGHBOURS * sizeof(struct place);
}

/* NULL: it cannot be, and the descriptor stays the caller's. */
static struct tally *map(int descriptor, uint64_t sets)
{
    size_t bytes = bytes_of(sets);
    struct tally *tally = malloc(sizeof *tally);
    if (!tally)
        return NULL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    *tally = (struct tally){descriptor, bytes, sets, memory};
    if (memory != MAP_FAILED)
        return tally;
    free(tally);
    return NULL;
}

static void unmap(struct tally *tally)
{
    munmap(tally->table, tally->bytes);
    free(tally);
}

static bool set_up(const struct tally *tally)
{
    struct table *table = tally->table;
    memcpy(table->shape, shape, sizeof shape);
    return getrandom(table->hash_key, sizeof table->hash_key, 0) == sizeof table->hash_key;
}

struct tally *tally_new(size_t places)
{
    uint64_t sets = 1;
    while (sets * NEIGHBOURS < places)
        sets *= 2;
    int descriptor = memfd_create("postern-tally", MFD_CLOEXEC);
    if (descriptor < 0)
        return NULL;
    struct tally *tally =
        ftruncate(descriptor, (off_t)bytes_of(sets)) == 0 ? map(descriptor, sets) : NULL;
    if (!tally)
        close(descriptor);
    else if (set_up(tally))
        return tally;
    else
        tally_free(tally);
    return NULL;
}

int tally_descriptor(const struct tally *tally)
{
    return tally->descriptor;
}

/* The power of two that makes so many bytes; 0: none does. */
static uint64_t sets_in(off_t bytes)
{
    uint64_t sets = 1;
    while (bytes > 0 && bytes_of(sets) < (size_t)bytes)
        sets *= 2;
    return bytes > 0 && bytes_of(sets) == (size_t)bytes ? sets : 0;
}

struct tally *tally_adopt(int descriptor)
{
    struct stat status;
    uint64_t sets = fstat(descriptor, &status) == 0 ? sets_in(status.st_size) : 0;
    if (sets == 0 || fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0)
        return NULL;
    struct tally *tally = map(descriptor, sets);
    if (!tally)
        return NULL;
    if (memcmp(tally->table->shape, shape, sizeof shape) == 0)
        return tally;
    unmap(tally);
    return NULL;
}

void tally_free(struct tally *tally)
{
    if (!tally)
        return;
    close(tally->descriptor);
    unmap(tally);
}

uint64_t tally_key(const struct tally *tally, unsigned kind, const void *bytes, size_t length)
{
    uint8_t whole[512];
    if (length > sizeof whole - 1)
        length = sizeof whole - 1;
    whole[0] = (uint8_t)kind;
    memcpy(whole + 1, bytes, length);
    uint64_t key = hash_bytes(tally->table->hash_key, whole, length + 1);
    return key ? key : 1;
}

static uint32_t ticks_at(uint64_t now_ms)
{
    return (uint32_t)(now_ms / TICK_MS);
}

/* What is left of a level by now. A clock that seems to go back is another process's. */
static uint32_t sunk(uint64_t value, uint32_t leak_per_hour, uint32_t now)
{
    uint64_t level = value >> 32;
    uint32_t since = (uint32_t)value;
    uint64_t elapsed = now > since ? now - since : 0;
    uint64_t lost = elapsed * leak_per_hour / TICKS_PER_HOUR;
    return lost < level ? (uint32_t)(level - lost) : 0;
}

static const struct place *set_of(const struct tally *tally, uint64_t key)
{
    return &tally->table->places[(key & (tally->sets - 1)) * NEIGHBOURS];
}

static const struct place *find(const struct tally *tally, uint64_t key)
{
    const struct place *set = set_of(tally, key);
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        if (__atomic_load_n(&set[i].key, __ATOMIC_ACQUIRE) == key)
            return &set[i];
    return NULL;
}

/* What stands against giving a place away: its level, which sinks at a speed that only its own
 * callers know; between equals the later event. */
static uint64_t worth(const struct place *place, uint32_t now)
{
    uint64_t value = __atomic_load_n(&place->value, __ATOMIC_ACQUIRE);
    uint32_t since = (uint32_t)value;
    return now > since && now - since > TICKS_UNTIL_STALE ? 0 : value;
}

/* A free neighbour, or the one worth least, which loses its place. */
static struct place *claim(struct tally *tally, uint64_t key, uint32_t now)
{
    struct place *set = &tally->table->places[(key & (tally->sets - 1)) * NEIGHBOURS],
                 *lowest = set;
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        uint64_t empty = 0;
        if (__atomic_compare_exchange_n(&set[i].key, &empty, key, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return &set[i];
        if (worth(&set[i], now) < worth(lowest, now))
            lowest = &set[i];
    }
    __atomic_store_n(&lowest->value, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&lowest->key, key, __ATOMIC_RELEASE);
    return lowest;
}

uint32_t tally_level(const struct tally *tally, uint64_t key, uint32_t leak_per_hour,
                     uint64_t now_ms)
{
    const struct place *place = find(tally, key);
    return place ? sunk(__atomic_load_n(&place->value, __ATOMIC_ACQUIRE), leak_per_hour,
                        ticks_at(now_ms))
                 : 0;
}

/* Sets a level from what has sunk: by addition, or to at least so much. */
static uint32_t change(struct tally *tally, uint64_t key, uint32_t amount, uint32_t at_least,
                       uint32_t leak_per_hour, uint64_t now_ms)
{
    uint32_t now = ticks_at(now_ms);
    const struct place *found = find(tally, key);
    struct place *place = found ? (struct place *)(uintptr_t)found : claim(tally, key, now);
    uint64_t before = __atomic_load_n(&place->value, __ATOMIC_ACQUIRE), level = 0;

    for (unsigned i = 0; i < TRIES; i++) {
        level = (uint64_t)sunk(before, leak_per_hour, now) + amount;
        if (level < at_least)
            level = at_least;
        if (level > TALLY_LEVEL_LIMIT)
            level = TALLY_LEVEL_LIMIT;
        if (__atomic_compare_exchange_n(&place->value, &before, level << 32 | now, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            break;
    }
    return (uint32_t)level;
}

uint32_t tally_add(struct tally *tally, uint64_t key, uint32_t amount, uint32_t leak_per_hour,
                   uint64_t now_ms)
{
    return change(tally, key, amount, 0, leak_per_hour, now_ms);
}

void tally_raise(struct tally *tally, uint64_t key, uint32_t level, uint32_t leak_per_hour,
                 uint64_t now_ms)
{
    change(tally, key, 0, level, leak_per_hour, now_ms);
}

void tally_clear(struct tally *tally, uint64_t key)
{
    const struct place *place = find(tally, key);
    if (place)
        __atomic_store_n(&((struct place *)(uintptr_t)place)->value, 0, __ATOMIC_RELEASE);
}
