/* What is counted together and what apart, and the names that stand in Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/abuse_level.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct config_limits limits = {
    .connections_per_minute = 60,
    .failed_logins = 10,
    .failed_logins_network = 50,
    .failed_logins_user = 30,
    .forgive_ms = 300000,
    .messages_per_hour = 100,
};

static struct tally *tally;

static int make(void **state)
{
    (void)state;
    tally = tally_new(64);
    return tally ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    tally_free(tally);
    return 0;
}

static struct abuse_level level_of(enum abuse_kind kind, const char *host, const char *user)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address client = {0};
    const char *why;
    strcpy(text, host);
    strcat(text, ":25");
    assert_true(address_parse(text, &client, &why));
    return abuse_level(&limits, tally, kind, &client, user);
}

static void test_names(void **state)
{
    static const struct {
        enum abuse_kind kind;
        const char *host, *user, *name;
    } cases[] = {
        {ABUSE_CONNECTIONS, "192.0.2.1", "", "postern:connections:192.0.2.1"},
        {ABUSE_FAILED_ADDRESS, "192.0.2.1", "", "postern:failed-address:192.0.2.1"},
        {ABUSE_FAILED_ADDRESS, "[::ffff:192.0.2.1]", "", "postern:failed-address:192.0.2.1"},
        {ABUSE_FAILED_ADDRESS, "[2001:db8:1:2:3::4]", "",
         "postern:failed-address:2001:db8:1:2::/64"},
        {ABUSE_FAILED_NETWORK, "192.0.2.1", "", "postern:failed-network:192.0.2.0/24"},
        {ABUSE_FAILED_NETWORK, "[2001:db8:1:2:3::4]", "",
         "postern:failed-network:2001:db8:1::/48"},
        {ABUSE_FAILED_NETWORK, "[2001:db8:a:b0c0:d0e0:f0a0:b0c0:d0e0]", "",
         "postern:failed-network:2001:db8:a::/48"},
        {ABUSE_CONNECTIONS, "[2001:db8:a:b0c0:d0e0:f0a0:b0c0:d0e0]", "",
         "postern:connections:2001:db8:a:b0c0::/64"},
        {ABUSE_FAILED_USER, "192.0.2.1", "Alice", "postern:failed-user:alice"},
        {ABUSE_TRUST, "192.0.2.1", "Alice", "postern:trust:192.0.2.1:alice"},
        {ABUSE_TRUSTED_FAILED, "192.0.2.1", "a", "postern:trusted-failed:192.0.2.1:a"},
        {ABUSE_TRUSTED_GUESSED, "192.0.2.1", "a", "postern:trusted-guessed:192.0.2.1:a"},
        {ABUSE_MESSAGES, "192.0.2.1", "alice", "postern:messages:alice"},
        {ABUSE_RECIPIENTS, "192.0.2.1", "alice", "postern:recipients:alice"},
        {ABUSE_UNDECIDED_ADDRESS, "192.0.2.1", "a", "postern:undecided-address:192.0.2.1"},
        {ABUSE_UNDECIDED_USER, "192.0.2.1", "A", "postern:undecided-user:a"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct abuse_level level = level_of(cases[i].kind, cases[i].host, cases[i].user);
        assert_string_equal(level.name, cases[i].name);
        assert_int_equal(level.length, strlen(cases[i].name));
        if (level.user > 0)
            assert_int_equal(level.length - level.user, strlen(cases[i].user));
        for (size_t j = 0; j < i; j++)
            assert_true((level_of(cases[j].kind, cases[j].host, cases[j].user).key ==
                         level.key) == (strcmp(cases[j].name, cases[i].name) == 0));
    }
}

static void test_speeds_and_bounds(void **state)
{
    (void)state;
    struct abuse_level level = level_of(ABUSE_FAILED_ADDRESS, "192.0.2.1", "");
    assert_int_equal(level.limit, 10 * TALLY_ONE);
    assert_int_equal(level.most, 20 * TALLY_ONE);
    assert_int_equal(level.leak_per_hour, 12 * TALLY_ONE);
    level = level_of(ABUSE_CONNECTIONS, "192.0.2.1", "");
    assert_int_equal(level.most, 60 * TALLY_ONE);
    assert_int_equal(level.leak_per_hour, 3600 * TALLY_ONE);
    level = level_of(ABUSE_MESSAGES, "192.0.2.1", "a");
    assert_int_equal(level.leak_per_hour, 100 * TALLY_ONE);
    level = level_of(ABUSE_RECIPIENTS, "192.0.2.1", "a");
    assert_int_equal(level.limit, 0);
    level = level_of(ABUSE_TRUST, "192.0.2.1", "a");
    assert_int_equal(level.most / level.leak_per_hour, 14 * 24);
    level = level_of(ABUSE_TRUSTED_FAILED, "192.0.2.1", "a");
    assert_int_equal(level.most, 10 * TALLY_ONE);
    assert_int_equal(level.leak_per_hour, 60 * TALLY_ONE);
    level = level_of(ABUSE_TRUSTED_GUESSED, "192.0.2.1", "a");
    assert_int_equal(level.limit, 30 * TALLY_ONE);
    assert_int_equal(level.leak_per_hour, 12 * TALLY_ONE);
}

/* Threat 11: a user name of any length and any bytes. */
static void test_long_names_stay_within_bounds(void **state)
{
    char user[1024];
    (void)state;
    memset(user, '\xff', sizeof user - 1);
    user[sizeof user - 1] = '\0';
    struct abuse_level level =
        level_of(ABUSE_TRUST, "[2001:db8:1111:2222:3333:4444:5555:6666]", user);
    assert_int_equal(level.length - level.user, ABUSE_USER_LIMIT);
    assert_int_equal(strlen(level.name), level.length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_speeds_and_bounds),
        cmocka_unit_test(test_long_names_stay_within_bounds),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
