/* Threat 17: of all characters, what hides, ends lines or reorders is escaped, and nothing
 * else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/escape.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static size_t encode(uint32_t code, char out[static 4])
{
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    size_t length = code < 0x10000 ? 3 : 4;
    out[0] = (char)(length == 3 ? 0xe0 | code >> 12 : 0xf0 | code >> 18);
    for (size_t i = 1; i < length; i++)
        out[i] = (char)(0x80 | (code >> 6 * (length - 1 - i) & 0x3f));
    return length;
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
        char in[4], out[32];
        size_t length = encode(code, in), written = 0;
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
        cmocka_unit_test(test_only_what_hides_or_reorders_is_escaped),
        cmocka_unit_test(test_stray_bytes_are_escaped_each),
        cmocka_unit_test(test_word_is_one_from_its_first_byte_to_its_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
