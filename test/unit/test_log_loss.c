/* Threat 37: a record that cannot be written is not waited for, but counted and told of. */
#include "captured_log.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/log.h"
#include "proxy/base/log_syslog.h"

/* Stands in for the one that speaks to /dev/log. */
static char said[2 * LOG_LINE_LIMIT];
static int said_count;
static bool syslog_is_full;

bool log_syslog_send(int priority, const char *name, bool with_pid, const char *text,
                     size_t length)
{
    (void)priority, (void)name, (void)with_pid;
    if (syslog_is_full)
        return false;
    assert_true(length < sizeof said);
    memcpy(said, text, length);
    said[length] = '\0';
    said_count++;
    return true;
}

/* Nothing that an earlier test has lost is told. */
static void configure(enum log_destination destination, enum log_format format)
{
    log_become_child();
    log_configure(&(struct log_options){destination, format, LOG_LEVEL_INFO});
}

static void test_stuck_reader_loses_records_but_stops_nobody(void **state)
{
    int ends[2], before = dup(STDERR_FILENO);
    (void)state;
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    uint64_t lost = log_lost();
    for (int i = 0; i < 5000 && log_lost() == lost; i++)
        log_info("%0200d", i);
    bool counted = log_lost() > lost;
    bool others_block = !(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
    dup2(before, STDERR_FILENO);
    assert_true(counted);
    assert_true(others_block);
    close(before);
    close(ends[0]);
    close(ends[1]);
}

static void test_stuck_socket_loses_records_but_stops_nobody(void **state)
{
    int ends[2], before = dup(STDERR_FILENO);
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    dup2(ends[1], STDERR_FILENO);
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    uint64_t lost = log_lost();
    for (int i = 0; i < 5000 && log_lost() == lost; i++)
        log_info("%0200d", i);
    bool counted = log_lost() > lost;
    close(ends[0]);
    log_info("nobody is there any more");
    dup2(before, STDERR_FILENO);
    assert_true(counted);
    close(before);
    close(ends[1]);
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
}

/* Threat 37. The count that others see has all of them, and so has the line that tells. */
static void test_first_line_after_a_loss_tells_of_it(void **state)
{
    uint64_t seen = 5;
    (void)state;
    configure(LOG_TO_SYSLOG, LOG_FORMAT_TEXT);
    log_set_level(LOG_LEVEL_ERROR);
    log_count_lost_in(&seen);
    said_count = 0;
    syslog_is_full = true;
    for (int i = 0; i < 3; i++)
        log_error("%d", i);
    log_warning("%s", "not wanted");
    log_count_lost();
    assert_int_equal(seen, 9);
    syslog_is_full = false;
    log_pass_on("\1x", 2);
    assert_int_equal(said_count, 2);
    assert_string_equal(said, "x");
    syslog_is_full = true;
    log_error("%s", "again");
    syslog_is_full = false;
    said_count = 0;
    log_error("%s", "first");
    assert_int_equal(said_count, 2);
    assert_int_equal(seen, 10);
    log_count_lost_in(NULL);
    log_count_lost();
    assert_int_equal(seen, 10);
    log_become_child();
    log_error("%s", "of a child");
    assert_int_equal(said_count, 3);
    configure(LOG_TO_SYSLOG, LOG_FORMAT_TEXT);
}

static void test_loss_is_told_with_its_number(void **state)
{
    char text[2 * LOG_LINE_LIMIT];
    (void)state;
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    log_become_child();
    for (int i = 0; i < 12; i++)
        log_count_lost();
    struct capture capture = capture_begin();
    log_error("%s", "next");
    log_error("%s", "last");
    capture_end(capture, text, sizeof text);
    const char *told = strstr(text, " level=warning "), *next = strstr(text, "msg=next");
    assert_non_null(told);
    assert_true(told < next);
    assert_non_null(strstr(told, "event=\"log records lost\" count=12\n"));
    assert_null(strstr(next, "lost"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stuck_reader_loses_records_but_stops_nobody),
        cmocka_unit_test(test_stuck_socket_loses_records_but_stops_nobody),
        cmocka_unit_test(test_first_line_after_a_loss_tells_of_it),
        cmocka_unit_test(test_loss_is_told_with_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
