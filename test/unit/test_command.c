/* Command lines: verbs in every case, bytes that do not belong there, names behind EHLO, BDAT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/command.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct {
    const char *name;
    enum smtp_verb verb;
} verbs[] = {
    {"EHLO", SMTP_VERB_EHLO},         {"HELO", SMTP_VERB_HELO},
    {"MAIL", SMTP_VERB_MAIL},         {"RCPT", SMTP_VERB_RCPT},
    {"DATA", SMTP_VERB_DATA},         {"BDAT", SMTP_VERB_BDAT},
    {"RSET", SMTP_VERB_RSET},         {"NOOP", SMTP_VERB_NOOP},
    {"QUIT", SMTP_VERB_QUIT},         {"VRFY", SMTP_VERB_VRFY},
    {"EXPN", SMTP_VERB_EXPN},         {"HELP", SMTP_VERB_HELP},
    {"ETRN", SMTP_VERB_ETRN},         {"STARTTLS", SMTP_VERB_STARTTLS},
    {"AUTH", SMTP_VERB_AUTH},         {"XCLIENT", SMTP_VERB_IDENTITY},
    {"XFORWARD", SMTP_VERB_IDENTITY}, {"XCONNECT", SMTP_VERB_IDENTITY},
    {"PROXY", SMTP_VERB_IDENTITY},    {"GET", SMTP_VERB_FOREIGN},
    {"POST", SMTP_VERB_FOREIGN},      {"HEAD", SMTP_VERB_FOREIGN},
    {"PUT", SMTP_VERB_FOREIGN},       {"DELETE", SMTP_VERB_FOREIGN},
    {"OPTIONS", SMTP_VERB_FOREIGN},   {"CONNECT", SMTP_VERB_FOREIGN},
    {"TRACE", SMTP_VERB_FOREIGN},     {"PATCH", SMTP_VERB_FOREIGN},
    {"PRI", SMTP_VERB_FOREIGN},
};

static enum smtp_verb verb_of(const char *line, size_t length)
{
    struct smtp_command command;
    assert_int_equal(smtp_command_parse(line, length, &command), SMTP_COMMAND_OK);
    return command.verb;
}

/* Bit i of `lower`: the letter is a small one. */
static void write_in_case(const char *name, unsigned lower, char *out)
{
    size_t i = 0;
    for (; name[i]; i++)
        out[i] = (char)(lower >> i & 1u ? tolower((unsigned char)name[i]) : name[i]);
    out[i] = '\0';
}

/* Threats 4 and 18 with all the rest. */
static void test_verbs_are_known_in_any_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(verbs); i++) {
        for (unsigned lower = 0; lower < 1u << strlen(verbs[i].name); lower++) {
            char line[32];
            write_in_case(verbs[i].name, lower, line);
            assert_int_equal(verb_of(line, strlen(line)), verbs[i].verb);
            strcat(line, " x");
            assert_int_equal(verb_of(line, strlen(line)), verbs[i].verb);
        }
    }
}

static void test_every_verb_is_in_the_table_of_this_test(void **state)
{
    (void)state;
    for (int verb = SMTP_VERB_UNKNOWN + 1; verb < SMTP_VERB_COUNT; verb++) {
        size_t found = 0;
        while (found < COUNT(verbs) && verbs[found].verb != (enum smtp_verb)verb)
            found++;
        assert_true(found < COUNT(verbs));
        bool named = verb != SMTP_VERB_IDENTITY && verb != SMTP_VERB_FOREIGN;
        assert_string_equal(smtp_verb_name((enum smtp_verb)verb),
                            named ? verbs[found].name : "unknown");
    }
    assert_string_equal(smtp_verb_name(SMTP_VERB_UNKNOWN), "unknown");
}

/* Threat 4: what is not just the verb is no verb, and the relay lets none through. */
static void test_a_verb_in_disguise_is_unknown(void **state)
{
    for (size_t i = 0; i < COUNT(verbs); i++) {
        static const char *const before[] = {" ", "\t", "\xa0", "\xef\xbb\xbf", "q", "-"};
        static const char *const behind[] = {"\t", "\tx", "x", "\xa0x", "=", ":", "-", ","};
        for (size_t j = 0; j < COUNT(before); j++) {
            char line[32];
            strcpy(line, before[j]);
            strcat(line, verbs[i].name);
            assert_int_equal(verb_of(line, strlen(line)), SMTP_VERB_UNKNOWN);
        }
        for (size_t j = 0; j < COUNT(behind); j++) {
            char line[32];
            strcpy(line, verbs[i].name);
            strcat(line, behind[j]);
            assert_int_equal(verb_of(line, strlen(line)), SMTP_VERB_UNKNOWN);
        }
        assert_int_equal(verb_of(verbs[i].name, strlen(verbs[i].name) - 1), SMTP_VERB_UNKNOWN);
    }
    (void)state;
    assert_int_equal(verb_of("", 0), SMTP_VERB_UNKNOWN);
    assert_int_equal(verb_of(" ", 1), SMTP_VERB_UNKNOWN);
}

static void test_arguments_are_what_follows_the_spaces(void **state)
{
    static const struct {
        const char *line, *arguments;
    } cases[] = {
        {"NOOP", ""},
        {"NOOP ", ""},
        {"NOOP  \t ", ""},
        {"EHLO host.example", "host.example"},
        {"EHLO host.example \t", "host.example"},
        {"EHLO  host", "host"},
        {"BDAT   5  LAST  ", "5  LAST"},
        {"EHLO \thost", "\thost"},
        {"   ", ""},
        {"MAIL FROM:<a@b> SIZE=1", "FROM:<a@b> SIZE=1"},
        {"VRFY a\tb", "a\tb"},
        {"VRFY j\xc3\xb6rg", "j\xc3\xb6rg"},
        {"", ""},
        {" XCLIENT ADDR=1", "XCLIENT ADDR=1"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_command command;
        size_t length = strlen(cases[i].line), expected = strlen(cases[i].arguments);
        assert_int_equal(smtp_command_parse(cases[i].line, length, &command), SMTP_COMMAND_OK);
        assert_int_equal(command.arguments_length, expected);
        assert_memory_equal(command.arguments, cases[i].arguments, expected);
    }
}

/* Whatever the spaces, a backend gets the same line, and it is the one that was understood. */
static void test_each_command_has_one_form(void **state)
{
    static const struct {
        const char *line, *form;
    } cases[] = {
        {"NOOP", "NOOP"},
        {"noop \t ", "noop"},
        {"NOOP  with   words ", "NOOP with   words"},
        {"RCPT TO:<a@b>", "RCPT TO:<a@b>"},
        {"Rcpt    TO:<a@b>", "Rcpt TO:<a@b>"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_command command, again;
        size_t length = strlen(cases[i].line);
        char out[64], twice[64];
        assert_int_equal(smtp_command_parse(cases[i].line, length, &command), SMTP_COMMAND_OK);
        size_t written = smtp_command_canonical(&command, cases[i].line, out);
        assert_int_equal(written, strlen(cases[i].form));
        assert_memory_equal(out, cases[i].form, written);
        assert_int_equal(smtp_command_parse(out, written, &again), SMTP_COMMAND_OK);
        assert_int_equal(again.verb, command.verb);
        assert_int_equal(smtp_command_canonical(&again, out, twice), written);
        assert_memory_equal(twice, out, written);
    }
}

static void test_names_that_are_none_become_safe(void **state)
{
    static const struct {
        const char *name, *safe;
    } cases[] = {
        {"host.example", "host.example"}, {"[192.0.2.1]", "[192.0.2.1]"}, {"my pc", "my?pc"},
        {"b\xc3\xbcro", "b??ro"},         {"[\xef\xf0]", "[??]"},         {"a\tb", "a?b"},
        {"\x7f\xff\x01", "???"},
    };
    char out[SMTP_HELO_NAME_SIZE], longest[SMTP_DOMAIN_LIMIT + 1];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t length = strlen(cases[i].name);
        assert_true(smtp_helo_name_make_safe(cases[i].name, length, out));
        assert_string_equal(out, cases[i].safe);
        assert_true(smtp_helo_name_valid(out, length));
    }
    memset(longest, ' ', sizeof longest);
    assert_true(smtp_helo_name_make_safe(longest, SMTP_DOMAIN_LIMIT, out));
    assert_int_equal(strlen(out), SMTP_DOMAIN_LIMIT);
    assert_false(smtp_helo_name_make_safe(longest, SMTP_DOMAIN_LIMIT + 1, out));
    assert_false(smtp_helo_name_make_safe("", 0, out));
}

/* Threat 7, in a command line: each control byte in each place. */
static void test_control_characters_are_bad_wherever_they_stand(void **state)
{
    static const char line[] = "MAIL FROM:<a@b>";
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool bad = (byte < ' ' && byte != '\t') || byte == 127;
        for (size_t at = 0; at < sizeof line - 1; at++) {
            struct smtp_command command;
            char with[sizeof line];
            memcpy(with, line, sizeof line);
            with[at] = (char)byte;
            assert_int_equal(smtp_command_parse(with, sizeof line - 1, &command),
                             bad ? SMTP_COMMAND_BAD_BYTE : SMTP_COMMAND_OK);
            assert_non_null(command.arguments);
        }
    }
}

static void test_huge_lines_are_read_to_their_end(void **state)
{
    struct smtp_command command;
    size_t length = 10u << 20;
    char *line = malloc(length);
    (void)state;
    assert_non_null(line);
    memset(line, 'a', length);
    assert_int_equal(verb_of(line, length), SMTP_VERB_UNKNOWN);
    memcpy(line, "NOOP ", 5);
    assert_int_equal(smtp_command_parse(line, length, &command), SMTP_COMMAND_OK);
    assert_int_equal(command.verb, SMTP_VERB_NOOP);
    assert_int_equal(command.arguments_length, length - 5);
    line[length - 1] = '\0';
    assert_int_equal(smtp_command_parse(line, length, &command), SMTP_COMMAND_BAD_BYTE);
    free(line);
}

static void test_names_behind_ehlo(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"host.example", true},
        {"[192.0.2.1]", true},
        {"[IPv6:2001:db8::1]", true},
        {"my_pc", true},
        {"a", true},
        {"+=!~", true},
        {"", false},
        {" host", false},
        {"ho st", false},
        {"host\t", false},
        {"host\x7f", false},
        {"h\xc3\xb6st", false},
        {"host\r\nXCLIENT", false},
        {"\x1b[2J", false},
        {"host\xff", false},
    };
    char longest[SMTP_DOMAIN_LIMIT + 1];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (smtp_helo_name_valid(cases[i].name, strlen(cases[i].name)) != cases[i].valid)
            fail_msg("%s: not as expected", cases[i].name);
    assert_false(smtp_helo_name_valid("a\0b", 3));
    memset(longest, 'a', sizeof longest);
    assert_true(smtp_helo_name_valid(longest, SMTP_DOMAIN_LIMIT));
    assert_false(smtp_helo_name_valid(longest, SMTP_DOMAIN_LIMIT + 1));
}

/* Threat 8: a size that the backend could read in another way is none. */
static void test_chunk_sizes_are_read_as_every_backend_reads_them(void **state)
{
    static const struct {
        const char *arguments;
        bool valid;
        uint64_t size;
        bool last;
    } cases[] = {
        {"0", true, 0, false},
        {"0 LAST", true, 0, true},
        {"86 LAST", true, 86, true},
        {"86 last", true, 86, true},
        {"1000000", true, 1000000, false},
        {"2147483647", true, 2147483647, false},
        {"2147483648", false, 0, false},
        {"4294967297", false, 0, false},
        {"9223372036854775808", false, 0, false},
        {"18446744073709551617", false, 0, false},
        {"99999999999999999999999999999999", false, 0, false},
        {"010", false, 0, false},
        {"00", false, 0, false},
        {"0x10", false, 0, false},
        {"", false, 0, false},
        {" 5", false, 0, false},
        {"+5", false, 0, false},
        {"-5", false, 0, false},
        {"5.0", false, 0, false},
        {"5k", false, 0, false},
        {"5  LAST", true, 5, true},
        {"5    last", true, 5, true},
        {"5LAST", false, 0, false},
        {"5  ", false, 0, false},
        {"5\tLAST", false, 0, false},
        {"5 LAS", false, 0, false},
        {"5 LASTS", false, 0, false},
        {"5 LAST 6", false, 0, false},
        {"5 6", false, 0, false},
        {"LAST", false, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t size = 0;
        bool last = false;
        bool valid =
            smtp_bdat_parse(cases[i].arguments, strlen(cases[i].arguments), &size, &last);
        if (valid != cases[i].valid)
            fail_msg("%s: not as expected", cases[i].arguments);
        if (!valid)
            continue;
        assert_int_equal(size, cases[i].size);
        assert_int_equal(last, cases[i].last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs_are_known_in_any_case),
        cmocka_unit_test(test_every_verb_is_in_the_table_of_this_test),
        cmocka_unit_test(test_a_verb_in_disguise_is_unknown),
        cmocka_unit_test(test_arguments_are_what_follows_the_spaces),
        cmocka_unit_test(test_each_command_has_one_form),
        cmocka_unit_test(test_names_that_are_none_become_safe),
        cmocka_unit_test(test_control_characters_are_bad_wherever_they_stand),
        cmocka_unit_test(test_huge_lines_are_read_to_their_end),
        cmocka_unit_test(test_names_behind_ehlo),
        cmocka_unit_test(test_chunk_sizes_are_read_as_every_backend_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
