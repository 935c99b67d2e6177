/* Reply lines: what is one, where a reply ends, and what of it may go into a log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/smtp/reply.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void test_lines_of_replies(void **state)
{
    static const struct {
        const char *line;
        unsigned code;
        bool last;
        const char *text;
    } cases[] = {
        {"250 OK", 250, true, "OK"},
        {"250-SIZE 1000", 250, false, "SIZE 1000"},
        {"250", 250, true, ""},
        {"250 ", 250, true, ""},
        {"250-", 250, false, ""},
        {"220  two blanks", 220, true, " two blanks"},
        {"354 go on", 354, true, "go on"},
        {"421 4.3.2 closing", 421, true, "4.3.2 closing"},
        {"599 \xff", 599, true, "\xff"},
        {"200 lowest", 200, true, "lowest"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_reply_line line;
        assert_true(smtp_reply_line_parse(cases[i].line, strlen(cases[i].line), &line));
        assert_int_equal(line.code, cases[i].code);
        assert_int_equal(line.last, cases[i].last);
        assert_int_equal(line.text_length, strlen(cases[i].text));
        assert_memory_equal(line.text, cases[i].text, line.text_length);
    }
}

static void test_what_is_no_reply_line(void **state)
{
    static const char *const lines[] = {
        "",       "2",      "25",    "2500",           "250_x",
        "250\tx", " 250 x", "25 x",  "150 x",          "650 x",
        "050 x",  "-250 x", "+25 x", "2x0 x",          "25x x",
        "x50 x",  "QUIT",   "250:",  "\xb2\x35\x30 x", "HTTP/1.1 400 Bad Request",
    };
    struct smtp_reply_line line;
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++)
        if (smtp_reply_line_parse(lines[i], strlen(lines[i]), &line))
            fail_msg("taken for a reply: %s", lines[i]);
    assert_false(smtp_reply_line_parse("250\0OK", 6, &line));
}

static void test_a_reply_ends_where_its_last_line_does(void **state)
{
    static const struct {
        const char *line;
        enum smtp_reply_status status;
    } cases[] = {
        {"220 ready", SMTP_REPLY_DONE}, {"250-host", SMTP_REPLY_MORE},
        {"250-SIZE", SMTP_REPLY_MORE},  {"250 DSN", SMTP_REPLY_DONE},
        {"354 go on", SMTP_REPLY_DONE}, {"550-no", SMTP_REPLY_MORE},
        {"550", SMTP_REPLY_DONE},
    };
    struct smtp_reply_state reply = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_reply_line line;
        assert_int_equal(smtp_reply_feed(&reply, cases[i].line, strlen(cases[i].line), &line),
                         cases[i].status);
    }
}

static void test_two_codes_in_one_reply_are_broken(void **state)
{
    static const char *const second[] = {"251 x", "251-x", "550 x", "", "x"};
    (void)state;
    for (size_t i = 0; i < COUNT(second); i++) {
        struct smtp_reply_state reply = {0};
        struct smtp_reply_line line;
        assert_int_equal(smtp_reply_feed(&reply, "250-a", 5, &line), SMTP_REPLY_MORE);
        assert_int_equal(smtp_reply_feed(&reply, second[i], strlen(second[i]), &line),
                         SMTP_REPLY_BROKEN);
    }
}

static void test_every_code_is_told_as_it_is(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 1000; code++) {
        char text[8];
        struct smtp_reply_line line;
        snprintf(text, sizeof text, "%03u x", code);
        assert_int_equal(smtp_reply_line_parse(text, 5, &line), code >= 200 && code < 600);
        if (code >= 200 && code < 600)
            assert_int_equal(line.code, code);
    }
}

/* Threat 17. */
static void test_clean_leaves_only_what_can_be_shown(void **state)
{
    char line[256];
    (void)state;
    for (size_t i = 0; i < sizeof line; i++)
        line[i] = (char)i;
    smtp_reply_clean(line, sizeof line);
    for (size_t i = 0; i < sizeof line; i++) {
        bool replaced = (i < 32 && i != '\t') || i == 127;
        assert_int_equal((unsigned char)line[i], replaced ? '?' : i);
    }
}

static void add(struct smtp_reply_text *text, const char *line)
{
    struct smtp_reply_line parsed;
    assert_true(smtp_reply_line_parse(line, strlen(line), &parsed));
    smtp_reply_text_add(text, &parsed);
}

static void check_text(const struct smtp_reply_text *text, const char *expected)
{
    assert_int_equal(text->length, strlen(expected));
    assert_memory_equal(text->bytes, expected, text->length);
}

static void test_text_is_a_whole_reply_after_each_line(void **state)
{
    struct smtp_reply_text text = {0};
    (void)state;
    add(&text, "554-5.7.1 no");
    check_text(&text, "554 5.7.1 no\r\n");
    add(&text, "554-");
    check_text(&text, "554-5.7.1 no\r\n554 \r\n");
    add(&text, "554");
    check_text(&text, "554-5.7.1 no\r\n554-\r\n554 \r\n");
    text.length = 0;
    add(&text, "421 4.3.2 j\xc3\xb6");
    check_text(&text, "421 4.3.2 j\xc3\xb6\r\n");
}

static void test_long_text_is_cut_between_characters(void **state)
{
    char line[4 + 600 + 1] = "554 ";
    (void)state;
    for (size_t before = 500; before <= 510; before++) {
        struct smtp_reply_text text = {0};
        memset(line + 4, 'a', before);
        memset(line + 4 + before, 0, sizeof line - 4 - before);
        for (size_t at = 4 + before; at + 3 < sizeof line; at += 3)
            memcpy(line + at, "\xe2\x82\xac", 3);
        add(&text, line);
        size_t cut = before > 506 ? 506 : before + (506 - before) / 3 * 3;
        assert_int_equal(text.length, cut + 6);
        assert_memory_equal(text.bytes + text.length - 2, "\r\n", 2);
    }
}

static void test_lines_without_room_are_left_out(void **state)
{
    struct smtp_reply_text text = {0};
    char long_line[4 + 506 + 1] = "554-";
    (void)state;
    memset(long_line + 4, 'a', 506);
    add(&text, long_line);
    add(&text, long_line);
    assert_int_equal(text.length, sizeof text.bytes);
    add(&text, "554 end");
    assert_int_equal(text.length, sizeof text.bytes);
    assert_int_equal(text.bytes[3], '-');
    assert_int_equal(text.bytes[512 + 3], ' ');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_replies),
        cmocka_unit_test(test_what_is_no_reply_line),
        cmocka_unit_test(test_a_reply_ends_where_its_last_line_does),
        cmocka_unit_test(test_two_codes_in_one_reply_are_broken),
        cmocka_unit_test(test_every_code_is_told_as_it_is),
        cmocka_unit_test(test_clean_leaves_only_what_can_be_shown),
        cmocka_unit_test(test_text_is_a_whole_reply_after_each_line),
        cmocka_unit_test(test_long_text_is_cut_between_characters),
        cmocka_unit_test(test_lines_without_room_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
