/* The base64 of SASL responses: one spelling for each byte string, and nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "auth/base64.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void test_what_clients_send_is_decoded(void **state)
{
    static const struct {
        const char *text, *bytes;
        size_t length;
    } cases[] = {
        {"", "", 0},
        {"Zg==", "f", 1},
        {"Zm8=", "fo", 2},
        {"Zm9v", "foo", 3},
        {"Zm9vYg==", "foob", 4},
        {"Zm9vYmE=", "fooba", 5},
        {"Zm9vYmFy", "foobar", 6},
        {"AAAA", "\0\0\0", 3},
        {"////", "\xff\xff\xff", 3},
        {"+/+/", "\xfb\xff\xbf", 3},
        {"AGFsaWNlAHNlY3JldA==", "\0alice\0secret", 13},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[32];
        size_t length = 99;
        assert_true(base64_decode(cases[i].text, strlen(cases[i].text), out, &length));
        assert_int_equal(length, cases[i].length);
        assert_memory_equal(out, cases[i].bytes, length);
    }
}

/* Threat 11. */
static void test_other_spellings_are_refused(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"Z", 1},        {"Zg", 2},      {"Zg=", 3},      {"Zm8", 3},
        {"Zg===", 5},    {"====", 4},    {"=", 1},        {"Z===", 4},
        {"Zg=v", 4},     {"=g==", 4},    {"Zg==Zm9v", 8}, {"Zm8=Zm9v", 8},
        {"Zh==", 4},     {"Zm9=", 4},    {"Zm9v\r\n", 6}, {"Zm9v\n\n\n\n", 8},
        {" Zm9", 4},     {"Zm 9", 4},    {"Zm-_", 4},     {"Zm9\0", 4},
        {"\0\0\0\0", 4}, {"Zm9\xc3", 4}, {"Zm9\xff", 4},  {"*", 1},
        {"****", 4},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[32];
        size_t length = 99;
        if (base64_decode(cases[i].text, cases[i].length, out, &length))
            fail_msg("case %zu was decoded", i);
        assert_int_equal(length, 0);
    }
}

static void test_each_byte_has_one_spelling(void **state)
{
    bool seen[256] = {false};
    (void)state;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++) {
            const char text[4] = {(char)first, (char)second, '=', '='};
            char out[3];
            size_t length;
            if (!base64_decode(text, sizeof text, out, &length))
                continue;
            assert_int_equal(length, 1);
            assert_false(seen[(unsigned char)out[0]]);
            seen[(unsigned char)out[0]] = true;
        }
    for (size_t i = 0; i < COUNT(seen); i++)
        assert_true(seen[i]);
}

static void test_half_decoded_password_is_overwritten(void **state)
{
    const char text[] = "c2VjcmV0IHBhc3N3b3Jk!AAA";
    char out[BASE64_DECODED_SIZE(sizeof text - 1)];
    const char blank[sizeof out] = {0};
    size_t length;
    (void)state;

    memset(out, 0, sizeof out);
    assert_false(base64_decode(text, sizeof text - 1, out, &length));
    assert_memory_equal(out, blank, sizeof out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_clients_send_is_decoded),
        cmocka_unit_test(test_other_spellings_are_refused),
        cmocka_unit_test(test_each_byte_has_one_spelling),
        cmocka_unit_test(test_half_decoded_password_is_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
