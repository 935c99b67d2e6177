/* The latest failures, in memory that processes share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "proxy/failures.h"

static struct failure found[FAILURES_LIMIT];

static int share(void **state)
{
    (void)state;
    return failures_share() ? 0 : -1;
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
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
