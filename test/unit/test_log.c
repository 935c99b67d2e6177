/* Threat 17: whatever is logged stays in its own field of its own line, and is never waited
 * for. */
#include "captured_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/log.h"
#include "proxy/base/log_syslog.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

enum { SYSLOG_WARNING = 4, SYSLOG_NOTICE = 5, SYSLOG_MAIL = 2 };

/* Stands in for the one that speaks to /dev/log. */
static char said[2 * LOG_LINE_LIMIT];
static int said_priority, said_count;

bool log_syslog_send(int priority, const char *name, bool with_pid, const char *text,
                     size_t length)
{
    assert_string_equal(name, "postern");
    assert_true(with_pid);
    assert_int_equal(priority >> 3, SYSLOG_MAIL);
    assert_true(length < sizeof said);
    memcpy(said, text, length);
    said[length] = '\0';
    said_priority = priority & 7;
    said_count++;
    return true;
}

/* Nothing that an earlier test has lost is told. */
static void configure(enum log_destination destination, enum log_format format)
{
    log_become_child();
    log_configure(&(struct log_options){destination, format, LOG_LEVEL_INFO});
}

static void test_field_cannot_be_forged(void **state)
{
    static const char evil[] = "x user=root\n2026 level=error msg=\"no\" \\";
    char text[LOG_LINE_LIMIT * 2];
    struct log_record record;
    (void)state;
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    struct capture capture = capture_begin();
    log_begin(&record, LOG_LEVEL_INFO, "session ended");
    log_text(&record, "helo", evil);
    log_text(&record, "client", "192.0.2.1");
    log_text(&record, "user", NULL);
    log_text(&record, "mechanism", "");
    log_number(&record, "messages", UINT64_MAX);
    log_end(&record);
    capture_end(capture, text, sizeof text);

    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(strstr(text, " level=info pid="));
    assert_non_null(strstr(text, " event=\"session ended\" "
                                 "helo=\"x user=root\\n2026 level=error msg=\\\"no\\\" \\\\\" "
                                 "client=192.0.2.1 mechanism=\"\" "
                                 "messages=18446744073709551615\n"));
}

static void test_json_has_the_same_fields(void **state)
{
    char text[LOG_LINE_LIMIT * 2];
    struct log_record record;
    (void)state;
    configure(LOG_TO_STDERR, LOG_FORMAT_JSON);
    log_set_process("reactor");
    struct capture capture = capture_begin();
    log_begin(&record, LOG_LEVEL_WARNING, "login failed");
    log_bytes(&record, "user", "a\"\0\xff", 4);
    log_number(&record, "port", 25);
    log_end(&record);
    capture_end(capture, text, sizeof text);
    log_set_process(NULL);

    assert_memory_equal(text, "{\"time\":\"2", 10);
    assert_non_null(strstr(text, "Z\",\"level\":\"warning\",\"pid\":"));
    assert_non_null(strstr(text, ",\"process\":\"reactor\",\"event\":\"login failed\","
                                 "\"user\":\"a\\\"\\u0000\\u00ff\",\"port\":25}\n"));
}

static void test_below_the_level_nothing_is_written(void **state)
{
    char text[LOG_LINE_LIMIT];
    struct log_record record;
    (void)state;
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    struct capture capture = capture_begin();
    log_debug("%s", "quiet");
    log_begin(&record, LOG_LEVEL_DEBUG, "quiet");
    assert_false(record.wanted);
    log_text(&record, "key", "value");
    log_end(&record);
    assert_int_equal(capture_end(capture, text, sizeof text), 0);
}

/* Is this one JSON object of strings and numbers, and nothing else? */
static bool json_is_whole(const char *text)
{
    bool in_string = false;
    size_t length = strlen(text);
    if (text[0] != '{' || length < 2 || strcmp(text + length - 2, "}\n") != 0)
        return false;
    for (const char *at = text + 1; at < text + length - 2; at++) {
        if (*at == '\\' && in_string)
            at++;
        else if (*at == '"')
            in_string = !in_string;
        else if (!in_string && !strchr(":,0123456789true", *at))
            return false;
    }
    return !in_string;
}

static void log_too_much(const char *value, size_t length)
{
    struct log_record record;
    log_begin(&record, LOG_LEVEL_INFO, "session ended");
    log_bytes(&record, "first", value, length);
    log_text(&record, "second", "still here");
    for (int i = 0; i < 8; i++)
        log_bytes(&record, "more", value, length);
    log_number(&record, "number", UINT64_MAX);
    log_end(&record);
}

static void test_line_that_is_too_long_is_cut_and_says_so(void **state)
{
    static const struct {
        enum log_format format;
        const char *second, *mark;
    } cases[] = {{LOG_FORMAT_TEXT, " second=\"still here\" ", " cut=true\n"},
                 {LOG_FORMAT_JSON, ",\"second\":\"still here\",", ",\"cut\":true}\n"}};
    static const char *const fillers[] = {"x", "\n", "\"", "\xe2\x80\xa8", "\xc3\xa9", "\\"};
    char text[2 * LOG_LINE_LIMIT], value[LOG_LINE_LIMIT];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t j = 0; j < COUNT(fillers); j++)
            for (size_t length = 380; length < 1100; length += 7) {
                size_t unit = strlen(fillers[j]);
                for (size_t k = 0; k < length * unit; k++)
                    value[k] = fillers[j][k % unit];
                configure(LOG_TO_STDERR, cases[i].format);
                struct capture capture = capture_begin();
                log_too_much(value, length * unit);
                size_t got = capture_end(capture, text, sizeof text);
                assert_in_range(got, 1, LOG_LINE_LIMIT);
                assert_ptr_equal(strchr(text, '\n'), text + got - 1);
                assert_non_null(strstr(text, cases[i].second));
                if (got > LOG_LINE_LIMIT - 20)
                    assert_string_equal(text + got - strlen(cases[i].mark), cases[i].mark);
                if (cases[i].format == LOG_FORMAT_JSON)
                    assert_true(json_is_whole(text));
            }
}

static void test_long_message_is_cut_and_says_so(void **state)
{
    char text[2 * LOG_LINE_LIMIT], message[3 * LOG_LINE_LIMIT];
    (void)state;
    memset(message, 'x', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    struct capture capture = capture_begin();
    log_error("%s", message);
    size_t got = capture_end(capture, text, sizeof text);
    assert_in_range(got, LOG_LINE_LIMIT - 20, LOG_LINE_LIMIT);
    assert_string_equal(text + got - 11, "\" cut=true\n");
}

static void test_terminal_form_is_for_people(void **state)
{
    char text[LOG_LINE_LIMIT];
    (void)state;
    configure(LOG_TO_STDERR, LOG_FORMAT_PLAIN);
    struct capture capture = capture_begin();
    log_error("a.conf:1: tls: \"%s\" is wrong", "x\n\x1b");
    capture_end(capture, text, sizeof text);
    assert_string_equal(text, "postern: error: a.conf:1: tls: \"x\\n\\x1b\" is wrong\n");
}

static void test_syslog_gets_the_record_without_what_it_adds(void **state)
{
    struct log_record record;
    (void)state;
    configure(LOG_TO_SYSLOG, LOG_FORMAT_TEXT);
    said_count = 0;
    log_begin(&record, LOG_LEVEL_NOTICE, "started %s%n");
    log_text(&record, "user", "100%s\n");
    log_end(&record);
    assert_int_equal(said_count, 1);
    assert_int_equal(said_priority, SYSLOG_NOTICE);
    assert_string_equal(said, "event=\"started %s%n\" user=\"100%s\\n\"");
}

static void test_relay_carries_a_record_out_of_the_chroot(void **state)
{
    char datagram[LOG_LINE_LIMIT + 1];
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    configure(LOG_TO_SYSLOG, LOG_FORMAT_TEXT);
    log_use_relay(ends[0]);
    said_count = 0;
    log_warning("%s", "backend refused XCLIENT");
    ssize_t got = recv(ends[1], datagram, sizeof datagram, MSG_DONTWAIT);
    assert_true(got > 1);
    assert_int_equal(said_count, 0);
    log_use_relay(-1); /* as the other process */
    log_pass_on(datagram, (size_t)got);
    assert_int_equal(said_count, 1);
    assert_int_equal(said_priority, SYSLOG_WARNING);
    assert_memory_equal(said, "pid=", 4);
    assert_non_null(strstr(said, " msg=\"backend refused XCLIENT\""));

    log_use_relay(ends[0]);
    uint64_t lost = log_lost();
    for (int i = 0; i < 5000 && log_lost() == lost; i++)
        log_info("%0200d", i);
    assert_true(log_lost() > lost);
    log_use_relay(-1);
    close(ends[0]);
    close(ends[1]);
}

/* Threat 22: the process behind the relay may have been taken over. */
static void test_relayed_garbage_stays_one_harmless_line(void **state)
{
    static char large[3 * LOG_LINE_LIMIT];
    (void)state;
    configure(LOG_TO_SYSLOG, LOG_FORMAT_TEXT);
    said_count = 0;
    log_pass_on("", 0);
    log_pass_on("\1", 1);
    assert_int_equal(said_count, 0);
    log_pass_on("\xff%n a\nb\0c\x1b\x80\xe2\x80\xae", 14);
    assert_int_equal(said_count, 1);
    assert_int_equal(said_priority, SYSLOG_WARNING);
    assert_string_equal(said, "%n a?b?c???");
    memset(large, 'x', sizeof large);
    log_pass_on(large, sizeof large);
    assert_int_equal(strlen(said), LOG_LINE_LIMIT);
}

/* Threat 22 again, where the log is a file. */
static void test_lines_of_children_stay_lines_and_harmless(void **state)
{
    char path[] = "/tmp/postern-log-XXXXXX", text[256] = "";
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    log_set_file(fd);
    configure(LOG_TO_FILE, LOG_FORMAT_TEXT);
    static const char garbage[] = "\xff%n a\nb\0c\x1b\n\n\x02level byte before";
    log_pass_lines_on(garbage, sizeof garbage - 1);
    log_pass_lines_on("\x02pid=1 msg=x", 12);
    log_pass_lines_on("", 0);
    log_pass_lines_on("\n", 1);
    assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
    assert_string_equal(text, "?%n a\nb?c?\n?level byte before\npid=1 msg=x\n");
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    log_set_file(-1);
    close(fd);
    unlink(path);
}

static void test_children_leave_their_lines_in_a_socket(void **state)
{
    char datagram[LOG_LINE_LIMIT] = "";
    int ends[2], kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    log_set_file(null);
    log_set_children_output(ends[0]);
    configure(LOG_TO_FILE, LOG_FORMAT_TEXT);
    log_become_child();
    log_notice("hello");
    assert_true(recv(ends[1], datagram, sizeof datagram - 1, MSG_DONTWAIT) > 0);
    assert_non_null(strstr(datagram, "level=notice"));
    assert_non_null(strstr(datagram, "msg=hello\n"));
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    log_set_children_output(-1);
    log_set_file(-1);
    configure(LOG_TO_STDERR, LOG_FORMAT_TEXT);
    close(ends[0]);
    close(ends[1]);
    close(kept);
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field_cannot_be_forged),
        cmocka_unit_test(test_json_has_the_same_fields),
        cmocka_unit_test(test_below_the_level_nothing_is_written),
        cmocka_unit_test(test_line_that_is_too_long_is_cut_and_says_so),
        cmocka_unit_test(test_long_message_is_cut_and_says_so),
        cmocka_unit_test(test_terminal_form_is_for_people),
        cmocka_unit_test(test_syslog_gets_the_record_without_what_it_adds),
        cmocka_unit_test(test_relay_carries_a_record_out_of_the_chroot),
        cmocka_unit_test(test_relayed_garbage_stays_one_harmless_line),
        cmocka_unit_test(test_lines_of_children_stay_lines_and_harmless),
        cmocka_unit_test(test_children_leave_their_lines_in_a_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
