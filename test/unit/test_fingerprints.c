/* Whose a certificate is, by its fingerprint, and what a postmaster is told of a bad list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/fingerprints.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

#define ONE   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define TWO   "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define THREE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdee"
#define COLONS                                                                                 \
    "01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:"  \
    "AB:CD:EF"

static struct fingerprints *read_text(const char *text, size_t length, char *error)
{
    FILE *file = fmemopen((void *)(uintptr_t)text, length, "r");
    assert_non_null(file);
    error[0] = '\0';
    struct fingerprints *fingerprints = fingerprints_read_lines(file, "f", error);
    fclose(file);
    return fingerprints;
}

static void test_each_certificate_has_its_name(void **state)
{
    static const struct {
        const char *text, *one, *two;
    } cases[] = {
        {ONE " robot\n", "robot", NULL},
        {ONE " robot", "robot", NULL},
        {"\n# " ONE " nobody\n" TWO "\tscanner\r\n \t" ONE "  \trobot \t\r\n", "robot",
         "scanner"},
        {COLONS " robot\n", "robot", NULL},
        {ONE " robot # on the second floor\n", "robot", NULL},
        {ONE " robot#2 \t#on the second floor\n", "robot#2", NULL},
        {ONE " robot two\n", "robot two", NULL},
        {ONE " r\303\266bot\n", "r\303\266bot", NULL},
        {"#\n", NULL, NULL},
        {"\n", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char error[FINGERPRINTS_ERROR_SIZE];
        struct fingerprints *read = read_text(cases[i].text, strlen(cases[i].text), error);
        const struct {
            const char *digits, *name;
        } asked[] = {{ONE, cases[i].one}, {TWO, cases[i].two}, {THREE, NULL}, {"", NULL}};
        assert_string_equal(error, "");
        assert_non_null(read);
        for (size_t j = 0; j < COUNT(asked); j++) {
            const char *name = fingerprints_find(read, asked[j].digits);
            if (asked[j].name)
                assert_string_equal(name, asked[j].name);
            else
                assert_null(name);
        }
        fingerprints_free(read);
    }
}

static void test_bad_line_is_told_with_its_place(void **state)
{
    static const char *const bad_digits = "not a SHA-256 fingerprint in hexadecimal",
                             *const bad_name = "no name, or none that could be a login";
    const struct {
        const char *text;
        size_t length;
        const char *place, *why;
    } cases[] = {
#define LINE(text) text, sizeof(text) - 1
        {LINE("robot " ONE "\n"), "f:1: ", bad_digits},
        {LINE(ONE "a robot\n"), "f:1: ", bad_digits},
        {LINE("\n#\n" ONE "\b robot\n"), "f:3: ", bad_digits},
        {LINE("SHA256 Fingerprint=" COLONS " robot\n"), "f:1: ", bad_digits},
        {LINE(TWO " scanner\n" ONE "\n"), "f:2: ", bad_name},
        {LINE(ONE " # robot\n"), "f:1: ", bad_name},
        {LINE(ONE " ro\033bot\n"), "f:1: ", bad_name},
        {LINE(ONE " robot\0two\n"), "f:1: ", "a zero byte"},
        {LINE("\0" ONE " robot\n"), "f:1: ", "a zero byte"},
        {LINE(ONE " robot\n" TWO " x\n" COLONS " robot\n"),
         "f:3: ", "this fingerprint stands in line 1 already"},
#undef LINE
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char error[FINGERPRINTS_ERROR_SIZE];
        assert_null(read_text(cases[i].text, cases[i].length, error));
        assert_memory_equal(error, cases[i].place, strlen(cases[i].place));
        assert_string_equal(error + strlen(cases[i].place), cases[i].why);
    }
}

/* An empty list in its place would lock everybody out without a word. */
static void test_what_cannot_be_read_is_no_empty_list(void **state)
{
    char error[FINGERPRINTS_ERROR_SIZE];
    (void)state;
    assert_null(fingerprints_read("/nonexistent", error));
    assert_string_equal(error, "/nonexistent: No such file or directory");
    assert_null(fingerprints_read("/tmp", error));
    assert_string_equal(error, "/tmp: Is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_certificate_has_its_name),
        cmocka_unit_test(test_bad_line_is_told_with_its_place),
        cmocka_unit_test(test_what_cannot_be_read_is_no_empty_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
