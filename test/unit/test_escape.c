/* Threat 17: what somebody else said is shown so that it is seen for what it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/escape.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void assert_escaped(enum escape_style style, const char *in, size_t length,
                           const char *wanted)
{
    char out[256];
    size_t written;
    assert_int_equal(escape(style, in, length, out, sizeof out - 1, &written), length);
    out[written] = '\0';
    assert_string_equal(out, wanted);
}

/* UTF-8 (RFC 3629 section 3) of a code point above 0x7f, and its NUL. */
static void encode(uint32_t code, char out[static 8])
{
    int following = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint32_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(leads[following] | code >> (6 * following));
    for (int i = 1; i <= following; i++)
        out[i] = (char)(0x80 | (code >> (6 * (following - i)) & 0x3f));
    out[following + 1] = '\0';
}

static void test_every_dangerous_character_is_escaped(void **state)
{
    static const struct {
        const char *in, *logfmt, *json, *mask;
    } cases[] = {
        {"plain ~!", "plain ~!", "plain ~!", "plain ~!"},
        {"a\r\nb", "a\\r\\nb", "a\\r\\nb", "a??b"},
        {"\t\x1b[0m\x7f", "\\t\\x1b[0m\\x7f", "\\t\\u001b[0m\\u007f", "??[0m?"},
        {"\"\\", "\\\"\\\\", "\\\"\\\\", "\"\\"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7",
         "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7",
         "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7",
         "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7"},
        {"\xff\xc3", "\\xff\\xc3", "\\u00ff\\u00c3", "??"},
        {"\xc0\x8a", "\\xc0\\x8a", "\\u00c0\\u008a", "??"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\u00ed\\u00a0\\u0080", "???"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\u00f4\\u0090\\u0080\\u0080", "????"},
        {"\xe2\x82", "\\xe2\\x82", "\\u00e2\\u0082", "??"},
        {"\xc2\x85\xc2\x9b", "\\u0085\\u009b", "\\u0085\\u009b", "??"},
        {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029", "\\u2028\\u2029", "??"},
        {"\xe2\x80\xae\xe2\x81\xa6\xd8\x9c", "\\u202e\\u2066\\u061c", "\\u202e\\u2066\\u061c",
         "???"},
        {"\xef\xbb\xbf\xe2\x80\x8b", "\\ufeff\\u200b", "\\ufeff\\u200b", "??"},
        {"\xf3\xa0\x80\x81", "\\U000e0001", "\\udb40\\udc01", "?"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t length = strlen(cases[i].in);
        assert_escaped(ESCAPE_LOGFMT, cases[i].in, length, cases[i].logfmt);
        assert_escaped(ESCAPE_JSON, cases[i].in, length, cases[i].json);
        assert_escaped(ESCAPE_MASK, cases[i].in, length, cases[i].mask);
    }
    assert_escaped(ESCAPE_LOGFMT, "a\0b", 3, "a\\x00b");
    assert_escaped(ESCAPE_JSON, "a\0b", 3, "a\\u0000b");
    assert_escaped(ESCAPE_PROSE, "say \"hi\"\n", 9, "say \"hi\"\\n");
}

/* What shows as nothing, or as a blank, would end a name for whoever reads it. */
static void test_every_blank_but_the_space_is_escaped(void **state)
{
    static const uint32_t blanks[] = {
        0xa0,   0xad,   0x34f,  0x115f, 0x1160, 0x1680, 0x17b4,  0x17b5,  0x180b,
        0x180e, 0x180f, 0x2000, 0x200a, 0x202f, 0x205f, 0x2800,  0x3000,  0x3164,
        0xfe00, 0xfe0f, 0xffa0, 0xfff0, 0xfff8, 0xfffb, 0x1bca0, 0x1d173, 0xe0001,
    };
    static const uint32_t shown[] = {0x1161, 0x2801, 0x27ff, 0x3163, 0x3165,    0xff9f,
                                     0xffa1, 0x2010, 0x3001, 0xfffd, 0x1160 - 2};
    (void)state;
    for (size_t i = 0; i < COUNT(blanks) + COUNT(shown); i++) {
        bool is_blank = i < COUNT(blanks);
        uint32_t code = is_blank ? blanks[i] : shown[i - COUNT(blanks)];
        char in[8] = "", wanted[16];
        encode(code, in);
        if (is_blank)
            snprintf(wanted, sizeof wanted, code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
        assert_escaped(ESCAPE_LOGFMT, in, strlen(in), is_blank ? wanted : in);
        assert_escaped(ESCAPE_MASK, in, strlen(in), is_blank ? "?" : in);
    }
}

static void test_escape_is_never_cut_in_two(void **state)
{
    const char in[] = "a\xe2\x80\xa8\xc3\xa9\"";
    (void)state;
    for (size_t size = 0; size < 16; size++) {
        char out[16];
        size_t written;
        size_t taken = escape(ESCAPE_LOGFMT, in, sizeof in - 1, out, size, &written);
        assert_in_range(written, 0, size);
        assert_true((taken == 0 && written == 0) || (taken == 1 && written == 1) ||
                    (taken == 4 && written == 7) || (taken == 6 && written == 9) ||
                    (taken == 7 && written == 11));
    }
}

struct range {
    uint32_t first, last;
};

static bool is_in(uint32_t code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

/* All others are shown as they are: names are in many languages. */
static void test_only_what_hides_or_reorders_is_escaped(void **state)
{
    static const struct range hidden[] = {
        {0x80, 0xa0},       {0xad, 0xad},       {0x34f, 0x34f},      {0x61c, 0x61c},
        {0x115f, 0x1160},   {0x1680, 0x1680},   {0x17b4, 0x17b5},    {0x180b, 0x180f},
        {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},    {0x2800, 0x2800},
        {0x3000, 0x3000},   {0x3164, 0x3164},   {0xd800, 0xdfff},    {0xfe00, 0xfe0f},
        {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},    {0x1bca0, 0x1bca3},
        {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, {0x110000, 0x13ffff}};
    (void)state;
    for (uint32_t code = 0x80; code < 0x140000; code++) {
        char in[8], out[32];
        encode(code, in);
        size_t length = strlen(in), written = 0;
        (void)!escape(ESCAPE_LOGFMT, in, length, out, sizeof out, &written);
        bool same = written == length && memcmp(in, out, length) == 0;
        if (same == is_in(code, hidden, COUNT(hidden)))
            fail_msg("U+%04x", (unsigned)code);
    }
}

/* "\x81\x80\x80\x80" would be a character if anything could begin one. */
static void test_stray_bytes_are_escaped_each(void **state)
{
    (void)state;
    for (int byte = 0x80; byte < 0x100; byte++) {
        char out[32], wanted[32], in[] = {(char)byte, '\x80', '\x80', '\x80'};
        size_t written;
        if (byte >= 0xc2 && byte <= 0xf4)
            continue;
        (void)!escape(ESCAPE_LOGFMT, in, sizeof in, out, sizeof out, &written);
        snprintf(wanted, sizeof wanted, "\\x%02x\\x80\\x80\\x80", (unsigned)byte);
        assert_int_equal(written, strlen(wanted));
        assert_memory_equal(out, wanted, written);
    }
}

/* What stands without quotes in a line ends at the first blank, and has one equals sign. */
static void test_word_is_one_from_its_first_byte_to_its_last(void **state)
{
    (void)state;
    assert_true(escape_is_word("a", 1));
    assert_true(escape_is_word("!~", 2));
    assert_false(escape_is_word("", 0));
    for (const char *bad = " =\"\\\n\x7f\xc3"; *bad; bad++) {
        assert_false(escape_is_word((const char[]){*bad, 'a', 'b'}, 3));
        assert_false(escape_is_word((const char[]){'a', *bad, 'b'}, 3));
        assert_false(escape_is_word((const char[]){'a', 'b', *bad}, 3));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_dangerous_character_is_escaped),
        cmocka_unit_test(test_every_blank_but_the_space_is_escaped),
        cmocka_unit_test(test_escape_is_never_cut_in_two),
        cmocka_unit_test(test_only_what_hides_or_reorders_is_escaped),
        cmocka_unit_test(test_stray_bytes_are_escaped_each),
        cmocka_unit_test(test_word_is_one_from_its_first_byte_to_its_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
