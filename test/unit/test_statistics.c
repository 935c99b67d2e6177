/*
 * Counting in shared memory: processes add up, an ended one's counters stay and its gauges go,
 * and every cell belongs to one metric.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/statistics_memory.h"

static size_t cells_of(const struct statistics_row *row)
{
    size_t cells = row->type == STATISTICS_HISTOGRAM
                       ? sizeof(struct statistics_histogram) / sizeof(uint64_t)
                       : 1;
    for (unsigned i = 0; i < STATISTICS_LABELS && row->labels[i].name; i++)
        cells *= row->labels[i].count;
    return cells;
}

static void test_every_number_is_shown_once(void **state)
{
    size_t count, end = 0;
    const struct statistics_row *rows = statistics_rows(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        if (rows[i].size == 0)
            continue;
        assert_int_equal(rows[i].offset, end);
        assert_int_equal(rows[i].size, cells_of(&rows[i]) * sizeof(uint64_t));
        end += rows[i].size;
    }
    assert_int_equal(end, sizeof(struct statistics));
}

static void test_unknown_ciphers_are_counted_too(void **state)
{
    struct statistics sum;
    (void)state;
    statistics_add_handshake("TLSv1.2", "no such cipher", false);
    statistics_add_handshake(NULL, NULL, true);
    statistics_sum(&sum);
    assert_int_equal(sum.handshakes[2][STATISTICS_CIPHERS - 1][0], 1);
    assert_int_equal(sum.handshakes[STATISTICS_TLS_VERSIONS - 1][STATISTICS_CIPHERS - 1][1], 1);
}

/* A process that counts, and its end. */
static void run_reactor(uint32_t place)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        statistics_use(place);
        statistics_add(&statistics->messages, 5);
        statistics_add(&statistics->sessions[0], 2);
        statistics_observe(&statistics->login_duration, 40);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_reactors_add_up_and_none_goes_back(void **state)
{
    struct statistics sum;
    uint32_t first = statistics_take_place(), second = statistics_take_place();
    (void)state;
    assert_int_not_equal(first, second);
    run_reactor(first);
    run_reactor(second);
    statistics_sum(&sum);
    assert_int_equal(sum.messages, 10);
    assert_int_equal(sum.sessions[0], 4);

    statistics_leave_place(first);
    statistics_sum(&sum);
    assert_int_equal(sum.messages, 10);
    assert_int_equal(sum.login_duration.sum_ms, 80);
    assert_int_equal(sum.sessions[0], 2);

    assert_int_equal(statistics_take_place(), first);
    run_reactor(first);
    statistics_sum(&sum);
    assert_int_equal(sum.messages, 15);
    assert_int_equal(sum.sessions[0], 4);
    statistics_leave_place(first);
    statistics_leave_place(second);
}

static void test_one_reactor_too_many_counts_for_itself(void **state)
{
    struct statistics sum;
    uint32_t places = 0;
    (void)state;
    while (statistics_take_place() != STATISTICS_NO_PLACE)
        places++;
    assert_int_equal(places, STATISTICS_PLACES);
    run_reactor(STATISTICS_NO_PLACE);
    statistics_sum(&sum);
    assert_int_equal(sum.messages, 15);
    for (uint32_t i = 0; i < STATISTICS_PLACES; i++)
        statistics_leave_place(i);
}

static void test_names_keep_their_places(void **state)
{
    struct config_backend some[] = {{.name = (char *)"a"}, {.name = (char *)"b"}};
    struct config_backend others[STATISTICS_NAMES] = {{.name = (char *)"b"}};
    static char names[STATISTICS_NAMES][8];
    struct config before = {.backends = some, .backend_count = 2};
    struct config after = {.backends = others, .backend_count = STATISTICS_NAMES};
    (void)state;
    for (size_t i = 1; i < STATISTICS_NAMES; i++) {
        snprintf(names[i], sizeof names[i], "n%zu", i);
        others[i].name = names[i];
    }
    statistics_name(&before);
    unsigned place = statistics_backend("b");
    statistics_name(&after);
    assert_int_equal(statistics_backend("b"), place);
    assert_int_not_equal(statistics_backend("n1"), place);
    assert_int_equal(statistics_backend(names[STATISTICS_NAMES - 1]), STATISTICS_NAMES - 1);
    assert_int_equal(statistics_backend("never heard of"), STATISTICS_NAMES - 1);
}

/* As after exec(): the same memory, another mapping. */
static void test_another_program_goes_on(void **state)
{
    struct statistics before, after;
    uint32_t living = statistics_take_place(), dead = statistics_take_place();
    int descriptor = statistics_descriptor();
    (void)state;
    run_reactor(living);
    run_reactor(dead);
    statistics_give_place(living, 4711);
    statistics_give_place(dead, 4712);
    statistics_sum(&before);
    assert_true(statistics_adopt(dup(descriptor)));
    statistics_keep(&(pid_t){4711}, 1);
    statistics_sum(&after);
    assert_int_equal(after.messages, before.messages);
    assert_int_equal(after.sessions[0], before.sessions[0] - 2);
    statistics_leave(4711);
    statistics_sum(&after);
    assert_int_equal(after.messages, before.messages);
    assert_int_equal(after.sessions[0], before.sessions[0] - 4);
}

static void test_what_another_program_counted_is_not_guessed_at(void **state)
{
    FILE *empty = tmpfile(), *zeros = tmpfile();
    struct statistics sum;
    (void)state;
    assert_true(empty && zeros);
    assert_false(statistics_adopt(dup(fileno(empty))));
    off_t size = lseek(statistics_descriptor(), 0, SEEK_END);
    assert_int_equal(ftruncate(fileno(zeros), size), 0);
    assert_false(statistics_adopt(dup(fileno(zeros))));
    fclose(empty);
    fclose(zeros);
    statistics_add(&statistics->messages, 1);
    statistics_sum(&sum);
    assert_true(sum.messages > 0);
}

/* Names in shared memory, followed by a page that may not be read. */
static struct statistics_names *map_names(void)
{
    size_t size = sizeof(struct statistics_names), page = (size_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(size % page, 0);
    char *memory =
        mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(mprotect(memory + size, page, PROT_NONE), 0);
    memset(memory, 'x', size);
    return (struct statistics_names *)(void *)memory;
}

/* A reactor that takes the ends of the texts away and gives them back, for ever. */
static pid_t run_spoiler(struct statistics_names *names)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (char end = '\0'; pid == 0; end = end ? '\0' : 'x')
        for (unsigned i = 0; i < STATISTICS_NAMES; i++) {
            *(volatile char *)&names->listeners[i][STATISTICS_NAME_SIZE - 1] = end;
            *(volatile char *)&names->backends[i][STATISTICS_NAME_SIZE - 1] = end;
        }
    return pid;
}

/* Returns the status of a process that reads them, as each keeps what it has read. */
static int read_in_a_process(const struct statistics_names *names)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        statistics_read_names(names);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* The memory is the reactors' as well: a name that changes while the next master reads it is
 * cut or left out, and is never read beyond its place. */
static void test_names_that_change_while_they_are_read_harm_nobody(void **state)
{
    struct statistics_names *names = map_names();
    pid_t spoiler = run_spoiler(names);
    int status = 0;
    (void)state;
    for (unsigned i = 0; i < 500 && status == 0; i++)
        status = read_in_a_process(names);
    kill(spoiler, SIGKILL);
    waitpid(spoiler, NULL, 0);
    munmap(names, sizeof *names + (size_t)sysconf(_SC_PAGESIZE));
    assert_int_equal(status, 0);
}

static int share(void **state)
{
    (void)state;
    return statistics_share() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number_is_shown_once),
        cmocka_unit_test(test_unknown_ciphers_are_counted_too),
        cmocka_unit_test(test_reactors_add_up_and_none_goes_back),
        cmocka_unit_test(test_one_reactor_too_many_counts_for_itself),
        cmocka_unit_test(test_names_that_change_while_they_are_read_harm_nobody),
        cmocka_unit_test(test_names_keep_their_places),
        cmocka_unit_test(test_another_program_goes_on),
        cmocka_unit_test(test_what_another_program_counted_is_not_guessed_at),
    };
    return cmocka_run_group_tests(tests, share, NULL);
}
