/* Whom a request of the administration interface may be meant for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/admin/authority.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* In memory of exactly its length, so that a sanitizer sees a read past its end. */
static bool is_own(const char *text, size_t length, bool has_name)
{
    char *exact = malloc(length > 0 ? length : 1);
    assert_non_null(exact);
    memcpy(exact, text, length);
    bool own = admin_authority_is_own(exact, length, has_name);
    free(exact);
    return own;
}

static void test_own_names_are_known_in_every_form(void **state)
{
    static const char *const texts[] = {
        "localhost",          "LOCALHOST:1",   "localhost:65535", "127.0.0.1",
        "127.9.9.9:9",        "[::1]",         "[::1]:8025",      "[0::1]:1",
        "[::ffff:127.0.0.1]", "localhost:080", "[::FFFF:7F00:1]",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_true(is_own(texts[i], strlen(texts[i]), false));
        assert_true(is_own(texts[i], strlen(texts[i]), true));
    }
}

static void test_name_of_the_socket_has_no_port(void **state)
{
    (void)state;
    assert_true(is_own("postern", 7, true));
    assert_true(is_own("PostErn", 7, true));
    assert_false(is_own("postern", 7, false));
    assert_false(is_own("postern:80", 10, true));
    assert_false(is_own("postern:", 8, true));
    assert_false(is_own("postern.", 8, true));
    assert_false(is_own("[postern]", 9, true));
    assert_false(is_own("poster", 6, true));
}

static void test_other_names_are_foreign(void **state)
{
    static const char *const texts[] = {
        "",
        "x",
        "localhost.",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:000080",
        "localhost:8a",
        "localhost:-1",
        "localhost ",
        " localhost",
        "a.localhost",
        "localhosts",
        "localhos",
        "[localhost]",
        "127.0.0.1.",
        "127.1",
        "127.0.0.01",
        "0.0.0.0",
        "[::]",
        "[::2]",
        "128.0.0.1",
        "192.0.2.1",
        "[2001:db8::1]",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]:",
        "[]",
        "[",
        ":",
        ":80",
        "*",
        "localhost:80:80",
        "a@localhost",
        "[::1%lo]",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_false(is_own(texts[i], strlen(texts[i]), true));
    assert_false(is_own("localhost\0x", 11, true));
    assert_false(is_own("127.0.0.1\0x", 11, true));
    assert_false(is_own("[::1\0]", 6, true));
}

/* In memory of exactly its length. */
static bool is_direct(const char *text, size_t length, const char *hostname)
{
    char *exact = malloc(length > 0 ? length : 1);
    assert_non_null(exact);
    memcpy(exact, text, length);
    bool direct = admin_authority_is_direct(exact, length, hostname);
    free(exact);
    return direct;
}

static void test_figures_are_asked_for_by_address_or_hostname(void **state)
{
    static const char *const direct[] = {
        "192.0.2.1",  "192.0.2.1:9125", "[2001:db8::1]:9125",    "[::ffff:192.0.2.1]",
        "0.0.0.0:1",  "localhost:9125", "mail.example.org:9125", "MAIL.Example.ORG",
        "mail:9125",  "postern",        "Postern:9125",          "127.0.0.1",
        "[::1]:9125",
    };
    static const char *const foreign[] = {
        "",
        "rebound",
        "mail.",
        "mail.example.org.",
        "mail.example",
        "192.0.2",
        "192.0.2.1.",
        "2001:db8::1",
        "[2001:db8::1",
        "[mail]",
        "mail:",
        "mail:0",
        "mail:65536",
        "mail.example.org.a.test",
        "x.postern",
        "192.0.2.1.a.test",
        "3221225985",
        "0xc0000201",
        ".example.org",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(direct); i++)
        assert_true(is_direct(direct[i], strlen(direct[i]), "mail.example.org"));
    for (size_t i = 0; i < COUNT(foreign); i++)
        assert_false(is_direct(foreign[i], strlen(foreign[i]), "mail.example.org"));
    assert_false(is_direct("mail\0", 5, "mail.example.org"));
    assert_false(is_direct("", 0, ""));
    assert_false(is_direct(":9125", 5, ""));
    assert_true(is_direct("mail", 4, "mail"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_names_are_known_in_every_form),
        cmocka_unit_test(test_name_of_the_socket_has_no_port),
        cmocka_unit_test(test_other_names_are_foreign),
        cmocka_unit_test(test_figures_are_asked_for_by_address_or_hostname),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
