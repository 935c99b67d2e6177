/* The URL of the Redis server through which machines share their limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/shared_place.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void test_what_a_postmaster_writes(void **state)
{
    static const struct {
        const char *text, *address, *user, *password;
        unsigned database;
    } cases[] = {
        {"redis://127.0.0.1", "127.0.0.1:6379", "", "", 0},
        {"redis://localhost/", "127.0.0.1:6379", "", "", 0},
        {"redis://192.0.2.6:7000/15", "192.0.2.6:7000", "", "", 15},
        {"redis://[2001:db8::6]", "[2001:db8::6]:6379", "", "", 0},
        {"redis://[2001:db8::6]:7000/3", "[2001:db8::6]:7000", "", "", 3},
        {"redis://:secret@127.0.0.1", "127.0.0.1:6379", "", "secret", 0},
        {"redis://mail:a:b@c@127.0.0.1/1", "127.0.0.1:6379", "mail", "a:b@c", 1},
        {"redis://m%41il:%40%2f%25%3A@127.0.0.1", "127.0.0.1:6379", "mAil", "@/%:", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct shared_place place;
        char address[ADDRESS_TEXT_SIZE];
        const char *why = "";
        if (!shared_place_parse(cases[i].text, &place, &why))
            fail_msg("%s: %s", cases[i].text, why);
        address_text(&place.address, address);
        assert_string_equal(address, cases[i].address);
        assert_string_equal(place.user, cases[i].user);
        assert_string_equal(place.password, cases[i].password);
        assert_int_equal(place.database, cases[i].database);
    }
}

/* And no explanation shows the password. */
static void test_what_is_wrong_is_explained(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"rediss://:secret@127.0.0.1", "begin with redis://"},
        {"127.0.0.1:6379", "begin with redis://"},
        {"unix:///run/redis.sock", "unix socket"},
        {"redis://unix:/run/redis.sock", "IP address"},
        {"redis://", "no host"},
        {"redis://:secret@", "no host"},
        {"redis://*:6379", "no host"},
        {"redis://:secret@redis.example.org", "IP address"},
        {"redis://127.0.0.1:70000", "IP address"},
        {"redis://2001:db8::6", "IP address"},
        {"redis://secret@127.0.0.1", "before its @"},
        {"redis://mail:@127.0.0.1", "before its @"},
        {"redis://:%zz@127.0.0.1", "before its @"},
        {"redis://:%0@127.0.0.1", "before its @"},
        {"redis://:a%00b@127.0.0.1", "before its @"},
        {"redis://127.0.0.1/x", "number"},
        {"redis://127.0.0.1/1x", "number"},
        {"redis://127.0.0.1/10000", "number"},
        {"redis://127.0.0.1/0/1", "number"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct shared_place place;
        const char *why = NULL;
        if (shared_place_parse(cases[i].text, &place, &why))
            fail_msg("taken: %s", cases[i].text);
        assert_non_null(why);
        if (!strstr(why, cases[i].why) || strstr(why, "secret"))
            fail_msg("%s: %s", cases[i].text, why);
    }
}

static void test_long_words_are_refused(void **state)
{
    char text[SHARED_WORD_SIZE * 2] = "redis://:";
    const char *why = NULL;
    struct shared_place place;
    (void)state;
    memset(text + strlen(text), 'x', SHARED_WORD_SIZE - 1);
    strcat(text, "@127.0.0.1");
    assert_true(shared_place_parse(text, &place, &why));
    assert_int_equal(strlen(place.password), SHARED_WORD_SIZE - 1);
    memset(text + 9, 'x', SHARED_WORD_SIZE);
    strcpy(text + 9 + SHARED_WORD_SIZE, "@127.0.0.1");
    assert_false(shared_place_parse(text, &place, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_postmaster_writes),
        cmocka_unit_test(test_what_is_wrong_is_explained),
        cmocka_unit_test(test_long_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
