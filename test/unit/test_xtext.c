/* xtext (RFC 3461 section 4): one attribute stays one attribute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/xtext.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void test_examples(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"alice@example.org", "alice@example.org"},
        {"a b", "a+20b"},
        {"a+b=c", "a+2Bb+3Dc"},
        {"a\r\nb", "a+0D+0Ab"},
        {"j\xc3\xb6rg", "j+C3+B6rg"},
        {"\x7f\x1b\t", "+7F+1B+09"},
        {"!~", "!~"},
        {"\"(a)<b>\\", "+22+28a+29+3Cb+3E+5C"},
        {"[IPV6:2001:db8::1]", "[IPV6:2001:db8::1]"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[64];
        size_t length = 1;
        assert_true(
            smtp_xtext_encode(cases[i].in, strlen(cases[i].in), out, sizeof out, &length));
        assert_int_equal(length, strlen(cases[i].out));
        assert_memory_equal(out, cases[i].out, length);
    }
}

/* Threat 10. */
static void test_every_byte_is_itself_or_hexadecimal(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        const char byte = (char)i;
        char out[3], expected[8];
        size_t length = 0;
        bool itself = i >= 33 && i <= 126 && !strchr("+=\"()<>\\", (int)i);
        snprintf(expected, sizeof expected, itself ? "%c" : "+%02X", i);
        assert_true(smtp_xtext_encode(&byte, 1, out, sizeof out, &length));
        assert_int_equal(length, strlen(expected));
        assert_memory_equal(out, expected, length);
    }
}

/* Into an allocation of just that size, so that a byte too many is seen. */
static void test_what_has_no_room_is_refused_whole(void **state)
{
    static const char in[] = "ab c=";
    const size_t needed = sizeof "ab+20c+3D" - 1;
    (void)state;
    for (size_t size = 0; size <= needed + 1; size++) {
        char *out = malloc(size ? size : 1);
        size_t length = 77;
        assert_non_null(out);
        assert_int_equal(smtp_xtext_encode(in, sizeof in - 1, out, size, &length),
                         size >= needed);
        assert_int_equal(length, size >= needed ? needed : 0);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_every_byte_is_itself_or_hexadecimal),
        cmocka_unit_test(test_what_has_no_room_is_refused_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
