/* The Received field that Postern adds: one field, whatever a client calls itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <string.h>
#include <time.h>

#include "trace_reader.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Mon, 23 Nov 2026 17:24:38 +0000 */
#define NOVEMBER 1795454678

static const struct smtp_trace alice = {
    .helo = "laptop",
    .ptr = "client.example",
    .address = "203.0.113.9",
    .hostname = "mail.example.org",
    .esmtp = true,
    .authenticated = true,
    .login = "alice",
    .tls_version = "TLSv1.3",
    .tls_cipher = "TLS_AES_128_GCM_SHA256",
    .tls_bits = 128,
    .id = "a1b2c3",
    .time = NOVEMBER,
};

static void format_well(const struct smtp_trace *trace, struct trace_read *read)
{
    char out[SMTP_TRACE_SIZE];
    size_t length = smtp_trace_format(trace, out);
    assert_in_range(length, 1, sizeof out);
    const char *fault = trace_fault(out, length, read);
    if (fault)
        fail_msg("%.*s: %s", (int)length, out, fault);
}

static void check(const struct smtp_trace *trace, const char *expected)
{
    char out[SMTP_TRACE_SIZE + 1];
    struct trace_read read;
    format_well(trace, &read);
    out[smtp_trace_format(trace, out)] = '\0';
    assert_string_equal(out, expected);
}

static void test_an_ordinary_session(void **state)
{
    (void)state;
    check(&alice, "Received: from laptop (client.example [203.0.113.9])\r\n"
                  "\tby mail.example.org with ESMTPSA (TLSv1.3:TLS_AES_128_GCM_SHA256:128)\r\n"
                  "\t(authenticated as alice) id a1b2c3; Mon, 23 Nov 2026 17:24:38 +0000\r\n");
}

static void test_what_is_not_known_is_left_out(void **state)
{
    struct smtp_trace trace = alice;
    (void)state;
    trace.ptr = NULL;
    trace.login = NULL;
    trace.address = "2001:db8::9";
    trace.helo = "[IPv6:2001:db8::9]";
    trace.tls_bits = 0;
    trace.id = NULL;
    check(&trace, "Received: from [IPv6:2001:db8::9] ([IPv6:2001:db8::9])\r\n"
                  "\tby mail.example.org with ESMTPSA (TLSv1.3:TLS_AES_128_GCM_SHA256);\r\n"
                  "\tMon, 23 Nov 2026 17:24:38 +0000\r\n");
    struct smtp_trace least = {.address = "203.0.113.9", .time = NOVEMBER};
    check(&least, "Received: from [203.0.113.9] ([203.0.113.9])\r\n"
                  "\tby localhost with SMTP; Mon, 23 Nov 2026 17:24:38 +0000\r\n");
    least.address = NULL;
    least.ptr = "client.example";
    check(&least, "Received: from unknown (client.example)\r\n"
                  "\tby localhost with SMTP; Mon, 23 Nov 2026 17:24:38 +0000\r\n");
}

static void test_host_without_a_name_stands_there_by_its_address(void **state)
{
    struct smtp_trace trace = {.address = "203.0.113.9", .time = NOVEMBER};
    (void)state;
    trace.hostname = "[192.0.2.1]";
    check(&trace, "Received: from [203.0.113.9] ([203.0.113.9])\r\n"
                  "\tby [192.0.2.1] with SMTP; Mon, 23 Nov 2026 17:24:38 +0000\r\n");
}

/* RFC 3848 */
static void test_keyword_says_how_it_came(void **state)
{
    static const struct {
        bool esmtp, tls, authenticated;
        const char *keyword;
    } cases[] = {
        {true, false, false, "ESMTP"}, {true, false, true, "ESMTPA"},
        {true, true, false, "ESMTPS"}, {true, true, true, "ESMTPSA"},
        {false, false, false, "SMTP"}, {false, true, false, "SMTP"},
        {false, false, true, "SMTP"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_trace trace = alice;
        struct trace_read read;
        trace.esmtp = cases[i].esmtp;
        trace.authenticated = cases[i].authenticated;
        trace.tls_version = cases[i].tls ? "TLSv1.2" : NULL;
        format_well(&trace, &read);
        assert_string_equal(read.with, cases[i].keyword);
    }
}

static const char *const hostile[] = {
    "x\r\nBcc: all@example.org",
    "x\nSubject: y",
    "x\rSubject: y",
    "\r\n\r\nbody",
    "x) by evil.example (y",
    "((((",
    "))))",
    "x\\",
    "\\) by evil.example",
    "\"x",
    "x; Mon, 1 Jan 2001 00:00:00 +0000",
    "x by evil.example with ESMTPSA id 1",
    "x\tby evil.example",
    "j\xc3\xb6rg",
    "\xff\x80",
    "\x7f\x1b[31m",
    "[127.0.0.1] by evil",
    "[]",
    "[",
    "<a@b>",
    "=?utf-8?q?x?=",
    " ",
};

/* Threats 10 and 17: what a client says is one word, in its own place. */
static void test_nothing_said_becomes_more_than_a_word(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hostile); i++) {
        struct smtp_trace trace = alice;
        struct trace_read read;
        trace.helo = trace.ptr = trace.login = trace.id = hostile[i];
        trace.tls_version = trace.tls_cipher = trace.address = trace.hostname = hostile[i];
        format_well(&trace, &read);
        assert_int_equal(read.comments, 3);
        assert_string_equal(read.with, "ESMTPSA");
        assert_string_equal(read.date, "Mon, 23 Nov 2026 17:24:38 +0000");
        assert_int_equal(strlen(read.from), strlen(hostile[i]));
        assert_int_equal(strlen(read.by), strlen(hostile[i]));
        assert_int_equal(strlen(read.id), strlen(hostile[i]));
        assert_int_equal(strlen(read.comment[2]),
                         strlen("authenticated as ") + strlen(hostile[i]));
    }
}

static void test_every_byte_stays_in_its_place(void **state)
{
    (void)state;
    for (unsigned byte = 1; byte < 256; byte++) {
        struct smtp_trace trace = alice;
        struct trace_read read;
        const char value[] = {'a', (char)byte, 'b', '\0'};
        trace.helo = trace.ptr = trace.login = trace.id = value;
        format_well(&trace, &read);
        assert_int_equal(strlen(read.from), 3);
        assert_int_equal(read.comments, 3);
        bool plain = byte < 0x80 && (isalnum((int)byte) || strchr(".-_", (int)byte));
        assert_int_equal(read.from[1], plain ? byte : '?');
    }
}

static void test_ordinary_names_are_told_as_they_are(void **state)
{
    static const char *const names[] = {"laptop",
                                        "pc_1.local",
                                        "[1]",
                                        "[192.168.1.2]",
                                        "a-b.example",
                                        "[IPv6:fe80::1]",
                                        "xn--mnchen-3ya.example"};
    static const char *const logins[] = {
        "alice",  "al",   "alice@example.org", "alice+mail@example.org", "o'neil",
        "{a|b}~", "a=b/c"};
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        struct smtp_trace trace = alice;
        struct trace_read read;
        trace.helo = names[i];
        trace.login = logins[i];
        format_well(&trace, &read);
        assert_string_equal(read.from, names[i]);
        assert_string_equal(read.comment[2] + strlen("authenticated as "), logins[i]);
    }
}

/* Values longer than any that are told, in a buffer of just the size that is promised. */
static void test_over_long_values_are_cut(void **state)
{
    static char value[6000];
    struct smtp_trace trace = alice;
    struct trace_read read;
    (void)state;
    memset(value, 'x', sizeof value - 1);
    trace.helo = trace.ptr = trace.login = trace.id = value;
    trace.tls_version = trace.tls_cipher = trace.address = trace.hostname = value;
    trace.tls_bits = UINT32_MAX;
    format_well(&trace, &read);
    assert_int_equal(strlen(read.from), SMTP_TRACE_NAME_LIMIT);
    assert_int_equal(strlen(read.by), SMTP_TRACE_NAME_LIMIT);
    assert_int_equal(strlen(read.id), SMTP_TRACE_WORD_LIMIT);
    value[0] = '[';
    value[sizeof value - 2] = ']';
    format_well(&trace, &read);
    assert_int_equal(strlen(read.from), SMTP_TRACE_NAME_LIMIT);
}

/* Brackets are kept only where they are both there. */
static void test_longest_literal_is_told_as_it_is(void **state)
{
    char name[SMTP_TRACE_NAME_LIMIT + 2] = "[";
    struct smtp_trace trace = alice;
    struct trace_read read;
    (void)state;
    memset(name + 1, '1', SMTP_TRACE_NAME_LIMIT - 2);
    name[SMTP_TRACE_NAME_LIMIT - 1] = ']';
    trace.helo = name;
    format_well(&trace, &read);
    assert_string_equal(read.from, name);

    name[SMTP_TRACE_NAME_LIMIT] = ']';
    format_well(&trace, &read);
    assert_int_equal(strlen(read.from), SMTP_TRACE_NAME_LIMIT);
    assert_int_equal(read.from[0], '?');
    assert_int_equal(read.from[SMTP_TRACE_NAME_LIMIT - 1], '?');
}

/* Each line has 78 bytes at most, as long as a word is not longer by itself. */
static void test_lines_are_folded(void **state)
{
    static char name[61];
    (void)state;
    for (size_t length = 1; length < sizeof name; length++) {
        char out[SMTP_TRACE_SIZE];
        struct smtp_trace trace = alice;
        memset(name, 'n', length);
        trace.helo = trace.ptr = trace.hostname = name;
        trace.login = length <= 58 ? name : "alice";
        trace.tls_cipher = length <= 55 ? name : NULL;
        size_t end = smtp_trace_format(&trace, out), line = 0;
        for (size_t i = 0; i < end; i++, line++) {
            assert_true(line <= 80);
            if (out[i] == '\n')
                line = SIZE_MAX;
        }
        memset(name, 0, sizeof name);
    }
}

static void check_date(int64_t time, int offset, const char *expected)
{
    struct smtp_trace trace = alice;
    struct trace_read read;
    trace.time = time;
    trace.utc_offset_minutes = offset;
    format_well(&trace, &read);
    assert_string_equal(read.date, expected);
}

static void test_dates(void **state)
{
    (void)state;
    check_date(0, 0, "Thu, 01 Jan 1970 00:00:00 +0000");
    check_date(951782400, 0, "Tue, 29 Feb 2000 00:00:00 +0000");
    check_date(4107542399, 0, "Sun, 28 Feb 2100 23:59:59 +0000");
    check_date(4107542400, 0, "Mon, 01 Mar 2100 00:00:00 +0000");
    check_date(253402300799, 0, "Fri, 31 Dec 9999 23:59:59 +0000");
    check_date(NOVEMBER, 60, "Mon, 23 Nov 2026 18:24:38 +0100");
    check_date(NOVEMBER, -210, "Mon, 23 Nov 2026 13:54:38 -0330");
    check_date(NOVEMBER, 12 * 60 + 45, "Tue, 24 Nov 2026 06:09:38 +1245");
}

static void test_dates_out_of_range_are_dates(void **state)
{
    (void)state;
    check_date(-1, 0, "Thu, 01 Jan 1970 00:00:00 +0000");
    check_date(INT64_MIN, -5000, "Thu, 01 Jan 1970 00:00:00 -2359");
    check_date(INT64_MAX, 5000, "Fri, 31 Dec 9999 23:59:59 +2359");
}

/* Against libc's calendar, some hours apart, for four centuries. */
static void test_calendar(void **state)
{
    (void)state;
    for (time_t now = 0; now < 12622780800; now += 86400 * 9 + 3607) {
        struct tm parts;
        char expected[40];
        assert_non_null(gmtime_r(&now, &parts));
        strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S +0000", &parts);
        check_date(now, 0, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ordinary_session),
        cmocka_unit_test(test_what_is_not_known_is_left_out),
        cmocka_unit_test(test_host_without_a_name_stands_there_by_its_address),
        cmocka_unit_test(test_keyword_says_how_it_came),
        cmocka_unit_test(test_nothing_said_becomes_more_than_a_word),
        cmocka_unit_test(test_every_byte_stays_in_its_place),
        cmocka_unit_test(test_ordinary_names_are_told_as_they_are),
        cmocka_unit_test(test_over_long_values_are_cut),
        cmocka_unit_test(test_longest_literal_is_told_as_it_is),
        cmocka_unit_test(test_lines_are_folded),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_dates_out_of_range_are_dates),
        cmocka_unit_test(test_calendar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
