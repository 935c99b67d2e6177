/* The latest failures, in memory that processes share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/failures.h"

static struct failures *kept;
static struct failure found[FAILURES_LIMIT];

static int share(void **state)
{
    (void)state;
    static struct failures *memory;
    if (!memory)
        memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    memset(memory, 0, sizeof *memory);
    failures_use(memory);
    kept = memory;
    return 0;
}

static void test_without_memory_nothing_is_kept(void **state)
{
    (void)state;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    assert_int_equal(failures_read(found), 0);
}

static void test_what_is_noted_is_read(void **state)
{
    (void)state;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    assert_int_equal(failures_read(found), 1);
    assert_int_equal(found[0].kind, FAILURE_LOGIN);
    assert_string_equal(found[0].listener, "submission");
    assert_string_equal(found[0].client, "192.0.2.1");
    assert_string_equal(found[0].user, "alice");
    assert_string_equal(found[0].reason, "wrong password");
    assert_true(found[0].time_ms > 1700000000000);
}

static void test_other_processes_are_heard(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        failures_note(FAILURE_BACKEND, NULL, NULL, NULL, "unreachable");
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(failures_read(found), 1);
    assert_string_equal(found[0].reason, "unreachable");
    assert_string_equal(found[0].user, "");
}

static void test_texts_are_cut(void **state)
{
    char longer[1000];
    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    failures_note(FAILURE_LIMIT, longer, longer, longer, longer);
    assert_int_equal(failures_read(found), 1);
    assert_int_equal(strlen(found[0].listener), sizeof found[0].listener - 1);
    assert_int_equal(strlen(found[0].client), sizeof found[0].client - 1);
    assert_int_equal(strlen(found[0].user), sizeof found[0].user - 1);
    assert_int_equal(strlen(found[0].reason), sizeof found[0].reason - 1);
}

static void test_the_oldest_of_a_kind_is_forgotten_and_no_other_kind(void **state)
{
    char reason[16];
    bool is_there = false;
    (void)state;
    failures_note(FAILURE_LOGIN, NULL, NULL, NULL, "kept");
    for (unsigned i = 0; i < 3 * FAILURES_EACH; i++) {
        snprintf(reason, sizeof reason, "%u", i);
        failures_note(FAILURE_CONNECTION, NULL, NULL, NULL, reason);
    }
    assert_int_equal(failures_read(found), FAILURES_EACH + 1);
    for (size_t i = 0; i < FAILURES_EACH + 1; i++) {
        is_there |= strcmp(found[i].reason, "kept") == 0;
        assert_true(found[i].kind != FAILURE_CONNECTION ||
                    atoi(found[i].reason) >= (int)(2 * FAILURES_EACH));
    }
    assert_true(is_there);
}

static void test_equal_failures_within_a_minute_are_one(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
        failures_note(FAILURE_LOGIN, "submission", "192.0.2.2", "alice", "wrong password");
    }
    assert_int_equal(failures_read(found), 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(found[i].times, 1000);
        assert_true(found[i].first_ms <= found[i].time_ms);
    }
}

static void test_failures_that_differ_are_kept_apart(void **state)
{
    (void)state;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    failures_note(FAILURE_LOGIN, "other", "192.0.2.1", "alice", "wrong password");
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "bob", "wrong password");
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "put off");
    failures_note(FAILURE_BACKEND, "submission", "192.0.2.1", "alice", "wrong password");
    assert_int_equal(failures_read(found), 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(found[i].times, 1);
}

static void test_another_minute_is_another_row(void **state)
{
    (void)state;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    struct failure *first = &kept->rings[FAILURE_LOGIN].places[0].failure;
    first->first_ms -= FAILURES_TOGETHER_MS;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    assert_int_equal(failures_read(found), 2);
    /* A clock that was set back makes another row, too, and none that lasts for ever. */
    first->first_ms += 10 * FAILURES_TOGETHER_MS;
    kept->rings[FAILURE_LOGIN].places[1].failure.first_ms += 10 * FAILURES_TOGETHER_MS;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    assert_int_equal(failures_read(found), 3);
}

static void test_row_of_a_process_that_died_while_it_wrote_is_left_alone(void **state)
{
    (void)state;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    kept->rings[FAILURE_LOGIN].places[0].turn++;
    failures_note(FAILURE_LOGIN, "submission", "192.0.2.1", "alice", "wrong password");
    assert_int_equal(failures_read(found), 1);
    assert_int_equal(kept->rings[FAILURE_LOGIN].places[0].failure.times, 1);
}

static void test_kinds_have_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FAILURE_KINDS; i++)
        assert_true(strlen(failure_kind_name((enum failure_kind)i)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_memory_nothing_is_kept),
        cmocka_unit_test_setup(test_what_is_noted_is_read, share),
        cmocka_unit_test_setup(test_other_processes_are_heard, share),
        cmocka_unit_test_setup(test_texts_are_cut, share),
        cmocka_unit_test_setup(test_the_oldest_of_a_kind_is_forgotten_and_no_other_kind, share),
        cmocka_unit_test_setup(test_equal_failures_within_a_minute_are_one, share),
        cmocka_unit_test_setup(test_failures_that_differ_are_kept_apart, share),
        cmocka_unit_test_setup(test_another_minute_is_another_row, share),
        cmocka_unit_test_setup(test_row_of_a_process_that_died_while_it_wrote_is_left_alone,
                               share),
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
