/* Lines that leave together with the next one, and events for those who watch. */
#include "captured_log.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/log.h"
#include "proxy/base/log_syslog.h"

/* Stands in for the one that speaks to /dev/log. */
static char said[2 * LOG_LINE_LIMIT];
static int said_count;

bool log_syslog_send(int priority, const char *name, bool with_pid, const char *text,
                     size_t length)
{
    (void)priority, (void)name, (void)with_pid;
    assert_true(length < sizeof said);
    memcpy(said, text, length);
    said[length] = '\0';
    said_count++;
    return true;
}

static void configure(enum log_destination destination)
{
    log_become_child();
    log_configure(&(struct log_options){destination, LOG_FORMAT_TEXT, LOG_LEVEL_INFO});
}

static char seen_line[LOG_LINE_LIMIT], seen_user[300];
static unsigned seen_count;

static void see(void *context, const struct log_event *event)
{
    (void)context;
    assert_true(event->length < sizeof seen_line);
    memcpy(seen_line, event->line, event->length);
    seen_line[event->length] = '\0';
    strcpy(seen_user, event->user);
    seen_count++;
}

static void log_for_watcher(enum log_level level, const char *user)
{
    struct log_record record;
    log_begin(&record, level, "login failed");
    log_text(&record, "user", user);
    log_number(&record, "port", 25);
    log_end(&record);
}

/* Whatever the log's format and level are; what is logged is the same as without it. */
static void test_watcher_gets_each_event_as_json(void **state)
{
    char text[LOG_LINE_LIMIT], large[LOG_LINE_LIMIT];
    (void)state;
    log_become_child();
    log_configure(&(struct log_options){LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LEVEL_WARNING});
    log_set_watcher(see, NULL);
    seen_count = 0;
    struct capture capture = capture_begin();
    log_for_watcher(LOG_LEVEL_INFO, "a\"\n\x1b");
    log_for_watcher(LOG_LEVEL_DEBUG, "not seen");
    log_warning("%s", "nor is what is no event");
    capture_end(capture, text, sizeof text);
    assert_int_equal(seen_count, 1);
    assert_non_null(strstr(seen_line, "\"level\":\"info\""));
    assert_non_null(strstr(seen_line, "\"event\":\"login failed\",\"user\":\"a\\\"\\n\\u001b\","
                                      "\"port\":25}"));
    assert_string_equal(seen_user, "a\"\n\x1b");
    assert_null(strstr(text, "login failed"));

    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    log_for_watcher(LOG_LEVEL_INFO, large);
    assert_int_equal(strlen(seen_user), 255);
    assert_string_equal(seen_line + strlen(seen_line) - 12, ",\"cut\":true}");
    log_set_watcher(NULL, NULL);
    log_for_watcher(LOG_LEVEL_INFO, "nobody");
    assert_int_equal(seen_count, 2);
    assert_false(log_is_watched());
}

/* A record that another one interrupts is not mixed up with it. */
static void test_watcher_never_gets_two_events_in_one(void **state)
{
    struct log_record outer;
    (void)state;
    log_become_child();
    log_configure(&(struct log_options){LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LEVEL_ERROR});
    log_set_watcher(see, NULL);
    seen_count = 0;
    log_begin(&outer, LOG_LEVEL_INFO, "outer");
    log_for_watcher(LOG_LEVEL_INFO, "inner");
    log_text(&outer, "user", "outer");
    log_end(&outer);
    log_set_watcher(NULL, NULL);
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen_user, "inner");
}

static unsigned held_calls;

static void on_held(void *context)
{
    (void)context;
    held_calls++;
}

static void log_soon(const char *event, const char *value)
{
    struct log_record record;
    log_begin(&record, LOG_LEVEL_INFO, event);
    log_text(&record, "value", value);
    log_end_soon(&record);
}

/* In a datagram each record is a line, so that the reads below count writes. */
static void test_held_line_leaves_with_the_next_one(void **state)
{
    char text[2 * LOG_LINE_LIMIT] = "", large[1000];
    int ends[2], before = dup(STDERR_FILENO);
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_int_equal(dup2(ends[0], STDERR_FILENO), STDERR_FILENO);
    configure(LOG_TO_STDERR);
    log_on_held(on_held, NULL);
    held_calls = 0;
    log_soon("first", "a\nb");
    assert_int_equal(held_calls, 1);
    assert_int_equal(recv(ends[1], text, sizeof text, MSG_DONTWAIT), -1);
    log_info("second");
    ssize_t got = recv(ends[1], text, sizeof text - 1, MSG_DONTWAIT);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    for (int i = 0; i < 5; i++)
        log_soon("large", large);
    unsigned writes = 0;
    log_flush();
    char rest[2 * LOG_LINE_LIMIT];
    for (ssize_t each; (each = recv(ends[1], rest, sizeof rest, MSG_DONTWAIT)) > 0; writes++)
        assert_in_range(each, 1, LOG_LINE_LIMIT);
    log_on_held(NULL, NULL);
    log_soon("last", "at once");
    ssize_t last = recv(ends[1], rest, sizeof rest, MSG_DONTWAIT);
    dup2(before, STDERR_FILENO);
    close(before), close(ends[0]), close(ends[1]);
    assert_true(got > 0 && last > 0);
    text[got] = '\0';
    assert_non_null(strstr(text, "event=first value=\"a\\nb\"\n"));
    assert_non_null(strstr(text, "msg=second\n"));
    assert_int_equal(writes, 2);
}

static void test_held_line_is_a_record_of_its_own_in_syslog(void **state)
{
    char datagram[LOG_LINE_LIMIT + 1];
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    configure(LOG_TO_SYSLOG);
    log_on_held(on_held, NULL);
    log_use_relay(ends[0]);
    log_soon("first", "a");
    log_info("second");
    ssize_t got = recv(ends[1], datagram, sizeof datagram, MSG_DONTWAIT);
    log_use_relay(-1);
    said_count = 0;
    log_pass_on(datagram, (size_t)got);
    assert_int_equal(said_count, 2);
    assert_non_null(strstr(said, "msg=second"));
    said_count = 0;
    log_soon("third", "without a relay");
    assert_int_equal(said_count, 1);
    log_on_held(NULL, NULL);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watcher_gets_each_event_as_json),
        cmocka_unit_test(test_watcher_never_gets_two_events_in_one),
        cmocka_unit_test(test_held_line_leaves_with_the_next_one),
        cmocka_unit_test(test_held_line_is_a_record_of_its_own_in_syslog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
