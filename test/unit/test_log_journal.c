/* Lines of the log as entries of the journal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/log_journal.h"

#define HEAD "SYSLOG_IDENTIFIER=postern\nSYSLOG_FACILITY=2\nPRIORITY="

static char entry[LOG_JOURNAL_ENTRY_SIZE + 1];

static const char *format(const char *line, size_t length)
{
    entry[log_journal_format(line, length, entry)] = '\0';
    return entry;
}

#define FORMAT(line) format(line, sizeof(line) - 1)

static void test_fields_of_a_line_are_those_of_the_entry(void **state)
{
    (void)state;
    assert_string_equal(
        FORMAT("time=2026-11-23T14:05:09.123Z level=warning pid=81 event=\"session ended\" "
               "user=\"a \\\"b\\\" \\\\\" client=192.0.2.1"),
        HEAD "4\nMESSAGE=pid=81 event=\"session ended\" user=\"a \\\"b\\\" \\\\\" "
             "client=192.0.2.1\nPOSTERN_PID=81\nPOSTERN_EVENT=session ended\n"
             "POSTERN_USER=a \"b\" \\\nPOSTERN_CLIENT=192.0.2.1\n");
}

static void test_every_level_has_its_priority(void **state)
{
    (void)state;
    assert_non_null(strstr(FORMAT("time=x level=error msg=x"), "PRIORITY=3\n"));
    assert_non_null(strstr(FORMAT("time=x level=warning msg=x"), "PRIORITY=4\n"));
    assert_non_null(strstr(FORMAT("time=x level=notice msg=x"), "PRIORITY=5\n"));
    assert_non_null(strstr(FORMAT("time=x level=info msg=x"), "PRIORITY=6\n"));
    assert_non_null(strstr(FORMAT("time=x level=debug msg=x"), "PRIORITY=7\n"));
    assert_non_null(strstr(FORMAT("time=x level=what msg=x"), "PRIORITY=6\n"));
}

static void test_what_is_no_line_of_ours_is_a_message(void **state)
{
    (void)state;
    assert_string_equal(FORMAT("module: cannot do that"),
                        HEAD "6\nMESSAGE=module: cannot do that\n");
    assert_string_equal(FORMAT(""), HEAD "6\nMESSAGE=\n");
    assert_string_equal(FORMAT("user=\""), HEAD "6\nMESSAGE=user=\"\nPOSTERN_USER=\"\n");
    assert_string_equal(FORMAT("user=\"\\"), HEAD "6\nMESSAGE=user=\"\\\nPOSTERN_USER=\"\\\n");
}

/* A process that has been taken over may send any line. */
static void test_no_line_can_begin_a_field_of_another_name(void **state)
{
    (void)state;
    assert_string_equal(FORMAT("user=\"a\nMESSAGE=b\"\n_UID=0"), HEAD
                        "6\nMESSAGE=user=\"a?MESSAGE=b\"?_UID=0\nPOSTERN_USER=a?MESSAGE=b\n");
    assert_null(strstr(FORMAT("_uid=0 Message=x"), "\n_UID"));
    assert_null(strstr(FORMAT("x=\n_UID=0"), "\n_UID"));
}

static void test_the_largest_line_fits(void **state)
{
    static char line[4096];
    (void)state;
    memset(line, 'a', sizeof line);
    for (size_t i = 1; i + 2 < sizeof line; i += 3)
        memcpy(line + i, "= ", 2);
    assert_true(log_journal_format(line, sizeof line, entry) <= LOG_JOURNAL_ENTRY_SIZE);
    memset(line, '\\', sizeof line);
    memcpy(line, "a=\"", 3);
    assert_true(log_journal_format(line, sizeof line, entry) < LOG_JOURNAL_ENTRY_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_a_line_are_those_of_the_entry),
        cmocka_unit_test(test_every_level_has_its_priority),
        cmocka_unit_test(test_what_is_no_line_of_ours_is_a_message),
        cmocka_unit_test(test_no_line_can_begin_a_field_of_another_name),
        cmocka_unit_test(test_the_largest_line_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
