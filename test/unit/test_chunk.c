/* The scanner of chunks against a plain model of it, and every way of cutting a message up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_model.h"
#include "proxy/smtp/chunk.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct {
    const char *name, *bytes;
    size_t length;
    bool passes, may_end;
} cases[] = {
#define CASE(name, text, passes, may_end)                                                      \
    {                                                                                          \
        name, text, sizeof(text) - 1, passes, may_end                                          \
    }
    CASE("nothing", "", true, true),
    CASE("text", "text", true, true),
    CASE("lines", "a\r\n\r\nb\r\n", true, true),
    CASE("an end of DATA is none here", "a\r\n.\r\nMAIL FROM:<b>\r\n.\r\n", true, true),
    CASE("dots", ".\r\n..\r\n.a\r\n", true, true),
    CASE("8-bit", "\xff\x80\xa0", true, true),
    CASE("CR at the end", "a\r", true, false),
    CASE("CR after a dot at the end", "a\r\n.\r", true, false),
    CASE("threat 34: LF", "a\nb", false, true),
    CASE("threat 34: LF first", "\na", false, true),
    CASE("threat 34: CR", "a\rb", false, true),
    CASE("threat 34: CR after a dot", ".\rb", false, true),
    CASE("threat 34: CR CR LF", "a\r\r\n", false, true),
    CASE("threat 34: NUL", "a\0b", false, true),
    CASE("threat 34: LF.LF", "a\r\n\n.\nMAIL", false, true),
    CASE("threat 34: NUL after a dot", "\r\n.\0\r\n", false, true),
};

static void test_each_kind_of_bare_line_end_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_chunk chunk = SMTP_CHUNK_START;
        print_message("%s\n", cases[i].name);
        assert_int_equal(smtp_chunk_scan(&chunk, cases[i].bytes, cases[i].length),
                         cases[i].passes);
        if (cases[i].passes)
            assert_int_equal(smtp_chunk_may_end(&chunk), cases[i].may_end);
    }
}

/* Bit n of `cuts`: a piece ends after byte n. */
static bool scan_in_pieces(struct smtp_chunk *chunk, const char *in, size_t length,
                           unsigned cuts)
{
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        if (!(cuts >> i & 1u) && i + 1 < length)
            continue;
        if (!smtp_chunk_scan(chunk, in + from, i + 1 - from))
            return false;
        from = i + 1;
    }
    return true;
}

static void check_every_cut(const char *in, size_t length)
{
    for (unsigned cuts = 0; cuts < 1u << (length - 1); cuts++) {
        struct smtp_chunk chunk = SMTP_CHUNK_START;
        bool passes = scan_in_pieces(&chunk, in, length, cuts);
        assert_int_equal(passes, !chunk_model_refuses(in, length));
        if (passes)
            assert_int_equal(smtp_chunk_may_end(&chunk), in[length - 1] != '\r');
    }
}

static void test_every_short_message_cut_up_in_every_way(void **state)
{
    static const char alphabet[] = {'a', '.', '\r', '\n', '\0'};
    enum { LONGEST = 6 };
    (void)state;
    for (size_t length = 1, count = 5; length <= LONGEST; length++, count *= 5) {
        for (size_t number = 0; number < count; number++) {
            char in[LONGEST];
            size_t rest = number;
            for (size_t i = 0; i < length; i++, rest /= 5)
                in[i] = alphabet[rest % 5];
            check_every_cut(in, length);
        }
    }
}

/* Long enough for the blocks of the fast skip; one byte is wrong, or none. */
static void test_wrong_byte_is_found_wherever_it_is(void **state)
{
    enum { SIZE = 400 };
    static const char wrong[] = {'\r', '\n', '\0'};
    char in[SIZE];
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        in[i] = i % 40 == 38 ? '\r' : i % 40 == 39 ? '\n' : 'a';
    struct smtp_chunk clean = SMTP_CHUNK_START;
    assert_true(smtp_chunk_scan(&clean, in, SIZE));
    for (size_t at = 0; at < SIZE; at++) {
        for (size_t i = 0; i < COUNT(wrong); i++) {
            struct smtp_chunk chunk = SMTP_CHUNK_START;
            char kept = in[at];
            in[at] = wrong[i];
            assert_int_equal(smtp_chunk_scan(&chunk, in, SIZE), !chunk_model_refuses(in, SIZE));
            in[at] = kept;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_of_bare_line_end_is_found),
        cmocka_unit_test(test_every_short_message_cut_up_in_every_way),
        cmocka_unit_test(test_wrong_byte_is_found_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
