/* Levels that rise with events and sink with time, in a table that processes share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/tally.h"

#define HOUR_MS UINT64_C(3600000)
#define START   (10 * HOUR_MS)

static struct tally *make(size_t places)
{
    struct tally *tally = tally_new(places);
    assert_non_null(tally);
    return tally;
}

static void test_level_sinks_at_its_speed(void **state)
{
    struct tally *tally = make(64);
    uint64_t key = tally_key(tally, 1, "alice", 5);
    uint32_t leak = 6 * TALLY_ONE;
    (void)state;
    assert_int_equal(tally_level(tally, key, leak, START), 0);
    assert_int_equal(tally_add(tally, key, 3 * TALLY_ONE, leak, START), 3 * TALLY_ONE);
    assert_int_equal(tally_level(tally, key, leak, START), 3 * TALLY_ONE);
    assert_int_equal(tally_level(tally, key, leak, START + HOUR_MS / 6), 2 * TALLY_ONE);
    assert_int_equal(tally_level(tally, key, leak, START + HOUR_MS / 2), 0);
    assert_int_equal(tally_level(tally, key, leak, START + 1000 * HOUR_MS), 0);
    /* A process that has read the clock a little earlier. */
    assert_int_equal(tally_level(tally, key, leak, START - 1), 3 * TALLY_ONE);
    tally_free(tally);
}

static void test_same_bytes_in_another_role_are_somebody_else(void **state)
{
    struct tally *tally = make(64);
    uint64_t one = tally_key(tally, 1, "alice", 5), two = tally_key(tally, 2, "alice", 5);
    (void)state;
    assert_true(one != two && one != tally_key(tally, 1, "alicf", 5));
    assert_true(one == tally_key(tally, 1, "alice", 5));
    tally_add(tally, one, TALLY_ONE, TALLY_ONE, START);
    assert_int_equal(tally_level(tally, two, TALLY_ONE, START), 0);
    tally_free(tally);
}

static void test_raise_never_lowers_and_clear_forgets(void **state)
{
    struct tally *tally = make(64);
    uint64_t key = tally_key(tally, 1, "x", 1);
    (void)state;
    tally_raise(tally, key, 5 * TALLY_ONE, TALLY_ONE, START);
    tally_raise(tally, key, 2 * TALLY_ONE, TALLY_ONE, START);
    assert_int_equal(tally_level(tally, key, TALLY_ONE, START), 5 * TALLY_ONE);
    tally_clear(tally, key);
    assert_int_equal(tally_level(tally, key, TALLY_ONE, START), 0);
    tally_free(tally);
}

static void test_level_has_an_end(void **state)
{
    struct tally *tally = make(64);
    uint64_t key = tally_key(tally, 1, "x", 1);
    (void)state;
    for (int i = 0; i < 5; i++)
        tally_add(tally, key, TALLY_LEVEL_LIMIT, 0, START);
    assert_int_equal(tally_level(tally, key, 0, START), TALLY_LEVEL_LIMIT);
    tally_free(tally);
}

/* Promise 9: a flood of names takes no memory, and the worst offender is not forgotten for it.
 */
static void test_full_table_forgets_the_least(void **state)
{
    struct tally *tally = make(64);
    uint64_t worst = tally_key(tally, 1, "worst", 5);
    (void)state;
    tally_add(tally, worst, 1000 * TALLY_ONE, TALLY_ONE, START);
    for (unsigned i = 0; i < 100000; i++)
        tally_add(tally, tally_key(tally, 2, &i, sizeof i), TALLY_ONE, TALLY_ONE, START);
    assert_int_equal(tally_level(tally, worst, TALLY_ONE, START), 1000 * TALLY_ONE);
    tally_free(tally);
}

/* Offenders of last month have sunk to nothing, whatever their speed was. */
static void test_newcomers_do_not_push_each_other_out_of_a_table_of_the_long_gone(void **state)
{
    enum { NEWCOMERS = 100 };
    struct tally *tally = make(4096);
    uint64_t keys[NEWCOMERS], later = START + 30 * 24 * HOUR_MS;
    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        tally_add(tally, tally_key(tally, 1, &i, sizeof i), 1000 * TALLY_ONE, TALLY_ONE, START);
    for (unsigned i = 0; i < NEWCOMERS; i++) {
        keys[i] = tally_key(tally, 2, &i, sizeof i);
        tally_add(tally, keys[i], TALLY_ONE, TALLY_ONE, later);
    }
    for (unsigned i = 0; i < NEWCOMERS; i++)
        assert_int_equal(tally_level(tally, keys[i], TALLY_ONE, later), TALLY_ONE);
    tally_free(tally);
}

static void test_processes_count_together(void **state)
{
    enum { PROCESSES = 4, EVENTS = 5000 };
    struct tally *tally = make(1024);
    uint64_t key = tally_key(tally, 1, "x", 1);
    (void)state;
    for (int i = 0; i < PROCESSES; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid > 0)
            continue;
        for (int j = 0; j < EVENTS; j++)
            tally_add(tally, key, 1, 0, START);
        _exit(0);
    }
    while (wait(NULL) > 0)
        continue;
    /* Who loses too many races lets it be: nearly all of them count. */
    uint32_t level = tally_level(tally, key, 0, START);
    assert_in_range(level, PROCESSES * EVENTS * 9 / 10, PROCESSES * EVENTS);
    tally_free(tally);
}

static void test_next_program_takes_it_over(void **state)
{
    struct tally *tally = make(64);
    uint64_t key = tally_key(tally, 1, "alice", 5);
    int descriptor = dup(tally_descriptor(tally));
    (void)state;
    assert_int_equal(tally_add(tally, key, TALLY_ONE, 0, START), TALLY_ONE);
    tally_free(tally);
    tally = tally_adopt(descriptor);
    assert_non_null(tally);
    assert_true(tally_key(tally, 1, "alice", 5) == key);
    assert_int_equal(tally_level(tally, key, 0, START), TALLY_ONE);
    int other = memfd_create("x", MFD_CLOEXEC);
    assert_null(tally_adopt(other));
    struct stat status;
    assert_int_equal(fstat(descriptor, &status), 0);
    assert_int_equal(ftruncate(other, status.st_size - 64), 0);
    assert_null(tally_adopt(other));
    assert_int_equal(ftruncate(other, status.st_size), 0);
    assert_null(tally_adopt(other));
    assert_null(tally_adopt(-1));
    close(other);
    tally_free(tally);
}

/* Threat 22: another process of ours was taken over, and has written what it likes. */
static void test_garbage_in_the_shared_memory_hurts_nobody(void **state)
{
    struct tally *tally = make(64);
    int descriptor = tally_descriptor(tally);
    struct stat status;
    (void)state;
    assert_int_equal(fstat(descriptor, &status), 0);
    char *memory =
        mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    for (int byte = 1; byte < 256; byte++) {
        memset(memory, byte, (size_t)status.st_size);
        assert_int_equal(tally_descriptor(tally), descriptor);
        uint64_t key = tally_key(tally, 1, "alice", 5);
        assert_in_range(tally_add(tally, key, TALLY_ONE, 1, START), 0, TALLY_LEVEL_LIMIT);
        tally_clear(tally, key);
    }
    munmap(memory, (size_t)status.st_size);
    tally_free(tally);
}

/* A daemon may have been started without a standard input. */
static void test_descriptor_0_is_one_like_any_other(void **state)
{
    (void)state;
    int kept = dup(0);
    close(0);
    struct tally *tally = tally_new(64);
    int descriptor = tally ? tally_descriptor(tally) : -1;
    if (tally)
        tally_free(tally);
    if (kept >= 0) {
        dup2(kept, 0);
        close(kept);
    }
    assert_int_equal(descriptor, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_sinks_at_its_speed),
        cmocka_unit_test(test_same_bytes_in_another_role_are_somebody_else),
        cmocka_unit_test(test_raise_never_lowers_and_clear_forgets),
        cmocka_unit_test(test_level_has_an_end),
        cmocka_unit_test(test_full_table_forgets_the_least),
        cmocka_unit_test(test_newcomers_do_not_push_each_other_out_of_a_table_of_the_long_gone),
        cmocka_unit_test(test_processes_count_together),
        cmocka_unit_test(test_next_program_takes_it_over),
        cmocka_unit_test(test_garbage_in_the_shared_memory_hurts_nobody),
        cmocka_unit_test(test_descriptor_0_is_one_like_any_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
