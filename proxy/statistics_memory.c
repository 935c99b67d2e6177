/*
 * The shared memory of the statistics: which places are taken, and the master's moving of an
 * ended reactor's counters to those of the past. A reader that comes while that happens reads
 * again (a sequence number that is odd, or has changed, tells), but not for ever: the number
 * stands where any reactor could spoil it.
 */
#include "proxy/statistics_memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/failures.h"

#define READ_ATTEMPTS 1000
#define CELLS         (sizeof(struct statistics) / sizeof(uint64_t))
_Static_assert(sizeof(struct statistics) % sizeof(uint64_t) == 0, "nothing but cells");

struct block {
    _Alignas(64) struct statistics cells;
};

struct shared {
    uint64_t shape; /* memory_shape(): another program may have another */
    struct statistics_names names;
    pid_t owners[STATISTICS_PLACES]; /* 0: not known */
    uint32_t sequence; /* odd: counters are on their way from a block to the past */
    int64_t began;
    uint64_t turns[STATISTICS_PLACES];
    uint8_t taken[STATISTICS_PLACES]; /* 0: free; any process may have written anything else */
    struct history history;
    struct failures failures;
    struct block past, master;
    struct block reactors[STATISTICS_PLACES];
};

/* In pages of their own, whatever the size of a page is. */
struct helpers {
    uint64_t log_lost;
};
#define PAGES              ((size_t)65536)
#define HELPERS_OFFSET     ((sizeof(struct shared) + PAGES - 1) / PAGES * PAGES)
#define SIZE               (HELPERS_OFFSET + PAGES)
#define HELPERS_DESCRIPTOR 3 /* the first after the standard ones */

static struct shared *shared;   /* NULL: nothing is shared */
static struct helpers *helpers; /* NULL likewise */
static int descriptor = -1;

/* Pages that no process has touched take no memory. NULL: it cannot be. */
static void *map(int fd, size_t offset, size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool has_size(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_size == (off_t)SIZE;
}

/* Both, or nothing. */
static bool map_all(int fd)
{
    shared = map(fd, 0, sizeof *shared);
    helpers = shared ? map(fd, HELPERS_OFFSET, sizeof *helpers) : NULL;
    if (shared && !helpers) {
        munmap(shared, sizeof *shared);
        shared = NULL;
    }
    return shared;
}

static void unmap_all(void)
{
    munmap(shared, sizeof *shared);
    munmap(helpers, sizeof *helpers);
    shared = NULL;
    helpers = NULL;
}

static void begin(int fd)
{
    descriptor = fd;
    statistics = &shared->master.cells;
    log_count_lost_in(&statistics->log_lost);
    failures_use(&shared->failures);
}

/* The same number for the same memory. */
static uint64_t memory_shape(void)
{
    return statistics_shape() + offsetof(struct shared, past) * HISTORY_STEP_MS;
}

bool statistics_share(void)
{
    int fd = memfd_create("postern-statistics", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)SIZE) < 0 || !map_all(fd)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    shared->shape = memory_shape();
    shared->began = time(NULL);
    begin(fd);
    return true;
}

int statistics_descriptor(void)
{
    if (shared)
        statistics_write_names(&shared->names);
    return descriptor;
}

bool statistics_adopt(int fd)
{
    bool fits = has_size(fd) && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && map_all(fd);
    if (fits && shared->shape == memory_shape()) {
        begin(fd);
        statistics_read_names(&shared->names);
        return true;
    }
    if (fits)
        unmap_all();
    close(fd);
    return false;
}

void statistics_pass_to_helper(void)
{
    if (descriptor == HELPERS_DESCRIPTOR)
        (void)fcntl(descriptor, F_SETFD, 0);
    else if (descriptor >= 0)
        (void)dup2(descriptor, HELPERS_DESCRIPTOR);
}

void statistics_use_as_helper(void)
{
    helpers = has_size(HELPERS_DESCRIPTOR)
                  ? map(HELPERS_DESCRIPTOR, HELPERS_OFFSET, sizeof *helpers)
                  : NULL;
    if (!helpers)
        return;
    log_count_lost_in(&helpers->log_lost);
    close(HELPERS_DESCRIPTOR);
}

uint32_t statistics_take_place(void)
{
    for (uint32_t i = 0; shared && i < STATISTICS_PLACES; i++) {
        if (shared->taken[i])
            continue;
        shared->taken[i] = true;
        return i;
    }
    return STATISTICS_NO_PLACE;
}

void statistics_give_place(uint32_t place, pid_t pid)
{
    if (shared && place < STATISTICS_PLACES)
        shared->owners[place] = pid;
}

void statistics_turn(uint32_t place)
{
    if (shared && place < STATISTICS_PLACES)
        statistics_add(&shared->turns[place], 1);
}

uint64_t statistics_turns(uint32_t place)
{
    return shared && place < STATISTICS_PLACES
               ? __atomic_load_n(&shared->turns[place], __ATOMIC_RELAXED)
               : 0;
}

void statistics_use(uint32_t place)
{
    static struct statistics own;
    bool has_place = shared && place < STATISTICS_PLACES;
    statistics = has_place ? &shared->reactors[place].cells : &own;
    log_count_lost_in(&statistics->log_lost);
}

static void add_row(struct statistics *sum, const struct statistics *block,
                    const struct statistics_row *row)
{
    uint64_t *to = (uint64_t *)(void *)((char *)sum + row->offset);
    const uint64_t *from = (const uint64_t *)(const void *)((const char *)block + row->offset);
    for (size_t i = 0; i < row->size / sizeof *to; i++)
        to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

/* Of one that has ended, what it had open is open no more. */
static void add_block(struct statistics *sum, const struct statistics *block, bool has_ended)
{
    size_t count;
    const struct statistics_row *rows = statistics_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (!has_ended || rows[i].type != STATISTICS_GAUGE)
            add_row(sum, block, &rows[i]);
}

static void turn_sequence(void)
{
    __atomic_fetch_add(&shared->sequence, 1, __ATOMIC_SEQ_CST);
}

void statistics_leave_place(uint32_t place)
{
    if (!shared || place >= STATISTICS_PLACES)
        return;
    struct statistics *block = &shared->reactors[place].cells;
    turn_sequence();
    add_block(&shared->past.cells, block, true);
    memset(block, 0, sizeof *block);
    shared->taken[place] = false;
    shared->owners[place] = 0;
    turn_sequence();
}

void statistics_leave(pid_t pid)
{
    for (uint32_t i = 0; shared && i < STATISTICS_PLACES; i++)
        if (shared->taken[i] && shared->owners[i] == pid)
            statistics_leave_place(i);
}

uint32_t statistics_place_of(pid_t pid)
{
    for (uint32_t i = 0; shared && i < STATISTICS_PLACES; i++)
        if (shared->taken[i] && shared->owners[i] == pid)
            return i;
    return STATISTICS_NO_PLACE;
}

static bool is_among(pid_t pid, const pid_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == pid)
            return true;
    return false;
}

void statistics_keep(const pid_t *living, size_t count)
{
    for (uint32_t i = 0; shared && i < STATISTICS_PLACES; i++)
        if (shared->taken[i] && !is_among(shared->owners[i], living, count))
            statistics_leave_place(i);
}

static void add_all(struct statistics *out)
{
    memset(out, 0, sizeof *out);
    add_block(out, &shared->past.cells, true);
    add_block(out, &shared->master.cells, false);
    for (uint32_t i = 0; i < STATISTICS_PLACES; i++)
        if (shared->taken[i])
            add_block(out, &shared->reactors[i].cells, false);
    out->log_lost += __atomic_load_n(&helpers->log_lost, __ATOMIC_RELAXED);
}

void statistics_sum(struct statistics *out)
{
    if (!shared) {
        *out = *statistics;
        return;
    }
    for (int i = 0; i < READ_ATTEMPTS; i++) {
        uint32_t before = __atomic_load_n(&shared->sequence, __ATOMIC_SEQ_CST);
        add_all(out);
        uint32_t after = __atomic_load_n(&shared->sequence, __ATOMIC_SEQ_CST);
        if (before == after && before % 2 == 0)
            return;
    }
}

void statistics_note_history(void)
{
    static struct statistics sum;
    uint64_t now_ms = clock_now_ms();
    if (!shared || !history_is_due(&shared->history, now_ms))
        return;
    statistics_sum(&sum);
    history_note(&shared->history, now_ms, &sum);
}

struct history *statistics_history(void)
{
    return shared ? &shared->history : NULL;
}

int64_t statistics_began(void)
{
    return shared ? shared->began : 0;
}
