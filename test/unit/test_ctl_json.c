/* The client's reader of JSON: what it takes, what it refuses, and what it finds inside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/ctl/json.h"

/* In memory of just its size, for the sanitizer to watch; never freed before its value is used
 * up. */
static struct ctl_value parse(const char *text)
{
    static char *copy;
    free(copy);
    copy = malloc(strlen(text) + !*text);
    assert_non_null(copy);
    memcpy(copy, text, strlen(text));
    return ctl_json_parse(copy, strlen(text));
}

static void test_what_is_json_is_taken(void **state)
{
    static const char *const cases[] = {
        "{}",
        "[]",
        " [ 1 , -2.5e+3, 0 ] ",
        "\"\\u00e4\\n\\\"\"",
        "{\"a\":{\"b\":[true,false,null]}}",
        "0",
        "1E5",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (parse(cases[i]).length == 0)
            fail_msg("%s was refused", cases[i]);
}

static void test_what_is_not_json_is_refused(void **state)
{
    static const char *const cases[] = {
        "",           "{",           "[1,]",
        "{\"a\"}",    "{\"a\":}",    "{a:1}",
        "[1 2]",      "\"",          "\"\\x\"",
        "\"\\u12",    "\"\n\"",      "tru",
        "01",         "1.",          "-",
        "{}{}",       "[1]]",        "'a'",
        "{\"a\":1,}", "\"\\u00g0\"", "[[[[[[[[[[1]]]]]]]]]]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (parse(cases[i]).length > 0)
            fail_msg("%s was taken", cases[i]);
}

static void test_values_nest_so_deep(void **state)
{
    (void)state;
    assert_int_equal(parse("[[[[[[[[1]]]]]]]]").length, 17);
    assert_int_equal(parse("[[[[[[[[[1]]]]]]]]]").length, 0);
}

static void test_members_are_found(void **state)
{
    struct ctl_value all =
        parse("{ \"a\" : \"x\", \"list\": [1, {\"n\": 22}, 3], \"b\":{\"a\":-7} }");
    char text[8];
    (void)state;
    ctl_json_text(ctl_json_member(all, "a"), text, sizeof text);
    assert_string_equal(text, "x");
    assert_int_equal(ctl_json_number(ctl_json_member(ctl_json_member(all, "b"), "a")), -7);
    assert_int_equal(ctl_json_member(all, "n").length, 0);
    assert_int_equal(ctl_json_member(ctl_json_member(all, "a"), "x").length, 0);

    all = parse("{\"x\": 1, \"y\": 2, \"yes\": true, \"no\": false, \"word\": \"true\"}");
    assert_int_equal(ctl_json_number(ctl_json_member(all, "y")), 2);
    assert_true(ctl_json_is_true(ctl_json_member(all, "yes")));
    assert_false(ctl_json_is_true(ctl_json_member(all, "no")));
    assert_false(ctl_json_is_true(ctl_json_member(all, "word")));
    assert_false(ctl_json_is_true(ctl_json_member(all, "none")));
    all = parse("[null]");
    assert_false(ctl_json_is_true(ctl_json_next(&all, NULL)));
    all = parse(
        "[9223372036854775807, -9223372036854775808, 92233720368547758070000, true, \"7\"]");
    assert_int_equal(ctl_json_number(ctl_json_next(&all, NULL)), INT64_MAX);
    assert_int_equal(ctl_json_number(ctl_json_next(&all, NULL)), INT64_MIN);
    assert_int_equal(ctl_json_number(ctl_json_next(&all, NULL)), INT64_MAX);
    assert_int_equal(ctl_json_number(ctl_json_next(&all, NULL)), 0);
    assert_int_equal(ctl_json_number(ctl_json_next(&all, NULL)), 0);
    all = parse("[1000000000000000000000000, 3]");
    assert_int_equal(ctl_json_number(ctl_json_next(&all, NULL)), 0);
    assert_int_equal(ctl_json_number(ctl_json_next(&all, NULL)), 3);
}

static void test_list_is_gone_through(void **state)
{
    (void)state;
    struct ctl_value all = parse("{\"list\": [1, {\"n\": 22}, 3]}");
    struct ctl_value rest = ctl_json_member(all, "list");
    assert_true(ctl_json_is_list(rest));
    assert_false(ctl_json_is_list(all));
    assert_int_equal(ctl_json_member(rest, "n").length, 0);
    assert_int_equal(ctl_json_member((struct ctl_value){0}, "n").length, 0);
    assert_int_equal(ctl_json_number(ctl_json_next(&rest, NULL)), 1);
    assert_int_equal(ctl_json_number(ctl_json_member(ctl_json_next(&rest, NULL), "n")), 22);
    assert_int_equal(ctl_json_number(ctl_json_next(&rest, NULL)), 3);
    assert_int_equal(ctl_json_next(&rest, NULL).length, 0);
    assert_int_equal(ctl_json_next(&rest, NULL).length, 0);
}

static void test_strings_are_decoded(void **state)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\b\f\n\r\t"},
        {"\"\\u00e4\\u20ac\"", "\xc3\xa4\xe2\x82\xac"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"\\ud83d\"", "?"},
        {"\"\\ude00x\"", "?x"},
        {"\"\\ud83d\\u0041\"", "?A"},
        {"\"\\u0000\"", "?"},
        {"7", ""},
        {"null", ""},
    };
    char text[32];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ctl_json_text(parse(cases[i].json), text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
    ctl_json_text(parse("\"abc\\u20ac\""), text, 6);
    assert_string_equal(text, "abc"); /* a character is never cut in two */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_json_is_taken),
        cmocka_unit_test(test_what_is_not_json_is_refused),
        cmocka_unit_test(test_values_nest_so_deep),
        cmocka_unit_test(test_members_are_found),
        cmocka_unit_test(test_list_is_gone_through),
        cmocka_unit_test(test_strings_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
