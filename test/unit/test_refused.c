/* What a session remembers of the passwords that it has tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/refused.h"
#include "auth/sasl.h"
#include "secret_scan.h"

static void test_only_the_same_name_and_password_are_the_same(void **state)
{
    struct refused refused = {0};
    (void)state;
    refused_add(&refused, refused_hash("alice", "wrong"));
    assert_true(refused_has(&refused, refused_hash("alice", "wrong")));
    assert_false(refused_has(&refused, refused_hash("alice", "wrong ")));
    assert_false(refused_has(&refused, refused_hash("Alice", "wrong")));
    assert_false(refused_has(&refused, refused_hash("alicew", "rong")));
    assert_false(refused_has(&refused, refused_hash("bob", "wrong")));
}

static void test_nothing_is_refused_at_first(void **state)
{
    struct refused refused = {0};
    (void)state;
    assert_false(refused_has(&refused, refused_hash("alice", "wrong")));
    assert_false(refused_has(&refused, 0));
}

static void test_latest_ones_are_remembered(void **state)
{
    struct refused refused = {0};
    char password[16];
    (void)state;
    for (int i = 0; i <= REFUSED_LIMIT; i++) {
        snprintf(password, sizeof password, "wrong %d", i);
        refused_add(&refused, refused_hash("alice", password));
        assert_true(refused_has(&refused, refused_hash("alice", password)));
    }
    assert_false(refused_has(&refused, refused_hash("alice", "wrong 0")));
    assert_true(refused_has(&refused, refused_hash("alice", "wrong 1")));
}

static void test_longest_credentials_are_told_apart(void **state)
{
    static char user[SASL_USER_LIMIT + 1], password[SASL_PASSWORD_LIMIT + 1];
    struct refused refused = {0};
    (void)state;
    memset(user, 'u', sizeof user - 1);
    memset(password, 'p', sizeof password - 1);
    refused_add(&refused, refused_hash(user, password));
    assert_true(refused_has(&refused, refused_hash(user, password)));
    password[sizeof password - 2] = 'q';
    assert_false(refused_has(&refused, refused_hash(user, password)));
}

/* Promise 7. */
static void test_no_password_is_left(void **state)
{
    char turned[SECRET_LENGTH], secret[SECRET_LENGTH + 1];
    struct refused refused = {0};
    (void)state;
    secret_make(turned);
    secret_reveal(turned, secret);
    refused_add(&refused, refused_hash("alice", secret));
    assert_true(refused_has(&refused, refused_hash("alice", secret)));
    explicit_bzero(secret, sizeof secret);
    assert_int_equal(secret_count(turned), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_same_name_and_password_are_the_same),
        cmocka_unit_test(test_nothing_is_refused_at_first),
        cmocka_unit_test(test_latest_ones_are_remembered),
        cmocka_unit_test(test_longest_credentials_are_told_apart),
        cmocka_unit_test(test_no_password_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
