/* A client that sends half a record is waited for, and keeps no large buffer meanwhile; a fault
 * is answered before more comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/record_end.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void test_record_ends_where_its_header_says(void **state)
{
    static const struct {
        const char *bytes;
        size_t length, end;
    } cases[] = {
        {"", 0, 0},
        {"\x17", 1, 0},
        {"\x17\3\3\0", 4, 0},
        {"\x17\3\3\0\1", 5, 0},
        {"\x17\3\3\0\1a", 6, 6},
        {"\x17\3\3\0\0", 5, 5}, /* OpenSSL's to refuse */
        {"\x17\3\3\0\1a\x15\3\3\0\2ab", 13, 6},
        {"\x17\3\3\0\1aNOOP\r\n", 12, 6},
        {"\x14\3\1\0\1\1", 6, 6},
        {"\x16\3\3\x41\0ab", 7, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t end = 99;
        assert_true(tls_record_end((const uint8_t *)cases[i].bytes, cases[i].length, &end));
        assert_int_equal(end, cases[i].end);
    }
}

static void test_what_is_no_record_is_not_waited_for(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"\x17\3\3\x41\1", 5}, /* too long */
        {"\x17\2\3\0\1", 5},   {"\x63\3\3\0\1", 5}, {"\x13\3\3\0\1", 5},
        {"\0\0\0\0\0", 5},     {"NOOP\r\n", 6},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t end;
        assert_false(tls_record_end((const uint8_t *)cases[i].bytes, cases[i].length, &end));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_ends_where_its_header_says),
        cmocka_unit_test(test_what_is_no_record_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
