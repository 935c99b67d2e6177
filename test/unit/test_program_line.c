/* A program's line: split once, expanded for each session, and nothing that a client says turns
 * into more than its own word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/program_line.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const char *const known[PROGRAM_VALUE_COUNT] = {
    [PROGRAM_ADDRESS] = "203.0.113.9", [PROGRAM_PORT] = "4711",
    [PROGRAM_HOST] = "c.example.org",  [PROGRAM_LOGIN] = "alice",
    [PROGRAM_MECHANISM] = "PLAIN",     [PROGRAM_HELO] = "laptop",
    [PROGRAM_LOCAL_ADDRESS] = "::1",   [PROGRAM_LOCAL_PORT] = "465",
    [PROGRAM_PROTOCOL] = "esmtpsa",
};

static struct program_arguments expanded;
static char why[PROGRAM_WHY_SIZE];

static bool expand(const char *text, const char *const *values)
{
    struct program_line line;
    if (!program_line_parse(text, &line, why))
        fail_msg("\"%s\": %s", text, why);
    return program_line_expand(&line, values, &expanded, why);
}

static void test_words_are_what_the_postmaster_sees(void **state)
{
    static const struct {
        const char *line;
        const char *words[6];
    } cases[] = {
        {"/bin/a", {"/bin/a"}},
        {"  /bin/a   b  c ", {"/bin/a", "b", "c"}},
        {"/bin/a 'b c' \"d e\"", {"/bin/a", "b c", "d e"}},
        {"/bin/a '' \"\"", {"/bin/a", "", ""}},
        {"/bin/a b'c d'e", {"/bin/a", "bc de"}},
        {"/bin/a b\\ c \\\"d \\'", {"/bin/a", "b c", "\"d", "'"}},
        {"/bin/a \"\\\" \\\\\"", {"/bin/a", "\" \\"}},
        {"/bin/a 'b\\c'", {"/bin/a", "b\\c"}},
        {"/bin/a $HOME `id` ; | * > x", {"/bin/a", "$HOME", "`id`", ";", "|", "*"}},
        {"/bin/a 100%% %%{login}", {"/bin/a", "100%", "%{login}"}},
        {"/bin/a -oMa %{address}.%{port} '%{login}'",
         {"/bin/a", "-oMa", "203.0.113.9.4711", "alice"}},
        {"/bin/a -oMa%{address}", {"/bin/a", "-oMa203.0.113.9"}},
        {"/bin/a %{protocol} %{local_address}:%{local_port} %{helo}",
         {"/bin/a", "esmtpsa", "::1:465", "laptop"}},
        {"'/opt/my programs/a' %{host}", {"/opt/my programs/a", "c.example.org"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_true(expand(cases[i].line, known));
        for (size_t j = 0; j < COUNT(cases[i].words) && cases[i].words[j]; j++)
            assert_string_equal(expanded.arguments[j], cases[i].words[j]);
    }
}

static void test_last_word_is_followed_by_nothing(void **state)
{
    (void)state;
    assert_true(expand("/bin/a b", known));
    assert_null(expanded.arguments[2]);
}

static void test_line_that_is_none_is_explained(void **state)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"", "names no program"},
        {"   ", "names no program"},
        {"exim4 -bs", "the program's path does not begin with /"},
        {"''", "the program's path does not begin with /"},
        {"/bin/%{login}", "which program it is must not depend on the client"},
        {"%{login}", "which program it is must not depend on the client"},
        {"/bin/a 'b", "the quote ' is not closed"},
        {"/bin/a \"b", "the quote \" is not closed"},
        {"/bin/a b\\", "nothing that a backslash could be for stands behind it"},
        {"/bin/a \"b\\c\"", "nothing that a backslash could be for stands behind it"},
        {"/bin/a %{logn}", "there is no %{logn}"},
        {"/bin/a %{}", "there is no %{}"},
        {"/bin/a %{login", "behind % stands {name}, or another %"},
        {"/bin/a %", "behind % stands {name}, or another %"},
        {"/bin/a %s", "behind % stands {name}, or another %"},
        {"/bin/a '%s'", "behind % stands {name}, or another %"},
        {"/bin/a\tb", "there is a control character in the line"},
        {"/bin/a \x04", "there is a control character in the line"},
        {"/bin/a \x7f", "there is a control character in the line"},
    };
    struct program_line line;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_false(program_line_parse(cases[i].line, &line, why));
        assert_string_equal(why, cases[i].why);
    }
}

static void test_lines_end_somewhere(void **state)
{
    struct program_line line;
    char text[2 * PROGRAM_LINE_LIMIT];
    (void)state;

    memset(text, 'a', sizeof text);
    text[0] = '/';
    text[PROGRAM_LINE_LIMIT - 1] = '\0';
    assert_true(program_line_parse(text, &line, why));
    text[PROGRAM_LINE_LIMIT - 1] = 'a';
    text[PROGRAM_LINE_LIMIT] = '\0';
    assert_false(program_line_parse(text, &line, why));

    for (int words = PROGRAM_WORD_LIMIT; words <= PROGRAM_WORD_LIMIT + 1; words++) {
        strcpy(text, "/a");
        for (int i = 1; i < words; i++)
            strcat(text, " b");
        assert_int_equal(program_line_parse(text, &line, why), words == PROGRAM_WORD_LIMIT);
    }
}

static void test_value_stays_inside_its_word(void **state)
{
    static const char *const hostile[] = {
        "a b", "a' b",       "a\" -C/tmp/x", "a\\ b", "$(id)",
        "a;b", "%{address}", "%%",           "*",     "a\xff",
    };
    const char *values[PROGRAM_VALUE_COUNT];
    (void)state;
    memcpy(values, known, sizeof values);
    for (size_t i = 0; i < COUNT(hostile); i++) {
        values[PROGRAM_LOGIN] = hostile[i];
        assert_true(expand("/bin/a %{login} 'x%{login}' end", values));
        assert_string_equal(expanded.arguments[1], hostile[i]);
        assert_string_equal(expanded.arguments[2] + 1, hostile[i]);
        assert_string_equal(expanded.arguments[3], "end");
        assert_null(expanded.arguments[4]);
    }
}

static void test_value_never_becomes_an_option(void **state)
{
    const char *values[PROGRAM_VALUE_COUNT];
    (void)state;
    memcpy(values, known, sizeof values);
    values[PROGRAM_LOGIN] = "-C/tmp/evil.conf";
    assert_false(expand("/bin/a -oMai %{login}", values));
    assert_string_equal(why, "%{login} begins like an option");
    assert_false(expand("/bin/a '%{login}'", values));
    assert_false(expand("/bin/a %{login}@%{address}", values));
    assert_true(expand("/bin/a x%{login}", values));
    assert_true(expand("/bin/a -u%{login}", values));
    assert_true(expand("/bin/a %{address}%{login}", values));
}

static void test_value_that_is_not_known_is_not_left_out(void **state)
{
    const char *values[PROGRAM_VALUE_COUNT];
    (void)state;
    memcpy(values, known, sizeof values);
    values[PROGRAM_LOGIN] = NULL;
    values[PROGRAM_MECHANISM] = "";
    assert_false(expand("/bin/a -oMai %{login}", values));
    assert_string_equal(why, "%{login} is not known");
    assert_false(expand("/bin/a -oMaa%{mechanism}", values));
    assert_true(expand("/bin/a %{address}", values));
}

static void test_expansion_ends_somewhere(void **state)
{
    static char value[PROGRAM_TEXT_LIMIT + 1];
    const char *values[PROGRAM_VALUE_COUNT];
    (void)state;
    memcpy(values, known, sizeof values);
    values[PROGRAM_LOGIN] = value;
    memset(value, 'x', PROGRAM_TEXT_LIMIT - strlen("/a") - 2);
    assert_true(expand("/a %{login}", values));
    strcat(value, "x");
    assert_false(expand("/a %{login}", values));
    assert_false(expand("/a b%{login}", values));
}

static void test_line_tells_what_it_asks_for(void **state)
{
    struct program_line line;
    (void)state;
    assert_true(program_line_parse("/bin/a '%{port}' %%{login}", &line, why));
    for (int i = 0; i < PROGRAM_VALUE_COUNT; i++)
        assert_int_equal(program_line_uses(&line, (enum program_value)i), i == PROGRAM_PORT);
    assert_string_equal(program_line_path(&line), "/bin/a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_what_the_postmaster_sees),
        cmocka_unit_test(test_last_word_is_followed_by_nothing),
        cmocka_unit_test(test_line_that_is_none_is_explained),
        cmocka_unit_test(test_lines_end_somewhere),
        cmocka_unit_test(test_value_stays_inside_its_word),
        cmocka_unit_test(test_value_never_becomes_an_option),
        cmocka_unit_test(test_value_that_is_not_known_is_not_left_out),
        cmocka_unit_test(test_expansion_ends_somewhere),
        cmocka_unit_test(test_line_tells_what_it_asks_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
