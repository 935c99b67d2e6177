/* Who may try a login, as time passes: the clock is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/abuse.h"

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define DAY    (24 * 60 * MINUTE)

/* The linker puts it in place of clock_now_ms(). */
static uint64_t now_ms = DAY;
uint64_t __wrap_clock_now_ms(void);
uint64_t __wrap_clock_now_ms(void)
{
    return now_ms;
}

static struct config config = {
    .shared = (char[]){""},
    .limits = {.failed_logins = 10,
               .failed_logins_network = 50,
               .failed_logins_user = 30,
               .forgive_ms = 300 * SECOND},
};
static struct tally *tally;
static struct abuse *abuse;
static struct address home;
static struct abuse_client client = {&home, false};

static int make(void **state)
{
    char text[] = "192.0.2.1:4711";
    const char *why;
    (void)state;
    tally = tally_new(1024);
    abuse = tally ? abuse_new(NULL, &config, tally) : NULL;
    return abuse && address_parse(text, &home, &why) ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    abuse_free(abuse);
    tally_free(tally);
    return 0;
}

/* A wrong password. False: PAM was not asked. */
static bool guess(const char *user)
{
    if (abuse_judge_login(abuse, client, user) != ABUSE_NONE)
        return false;
    abuse_login_failed(abuse, client, user);
    return true;
}

/* A right one. */
static bool log_in(const char *user)
{
    if (abuse_judge_login(abuse, client, user) != ABUSE_NONE)
        return false;
    abuse_login_succeeded(abuse, client, user);
    return true;
}

/* Until none gets through at the moment. */
static unsigned guess_on(const char *user)
{
    unsigned guesses = 0;
    while (guess(user))
        guesses++;
    return guesses;
}

static void test_own_mistakes_lock_nobody_out_for_more_than_a_minute(void **state)
{
    (void)state;
    assert_true(log_in("alice"));
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(guess_on("alice"), 0);
        for (int second = 0; second < 59; second++, now_ms += SECOND)
            assert_false(log_in("alice"));
        now_ms += 2 * SECOND;
        assert_true(log_in("alice"));
    }
}

static void test_who_knows_the_password_has_all_trials_again(void **state)
{
    (void)state;
    assert_true(log_in("alice"));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(guess_on("alice"), 10);
        now_ms += MINUTE;
        assert_true(log_in("alice"));
    }
}

/* Guesses at one user's password in a day, with an account of one's own at the same address.
 * `rounds`: how often the user logs in there. */
static unsigned guesses_in_a_day(const char *user, unsigned rounds)
{
    unsigned guesses = 0;
    uint64_t begin_ms = now_ms, logins = 0;
    for (; now_ms < begin_ms + DAY; now_ms += 10 * SECOND) {
        (void)log_in("mallory");
        if (logins < (now_ms - begin_ms) * rounds / DAY)
            logins += log_in(user);
        guesses += guess_on(user);
    }
    return guesses;
}

/* A failed login is forgotten every five minutes, as anybody's is: that makes 288 in a day. */
static void test_neighbour_with_an_account_guesses_no_faster(void **state)
{
    (void)state;
    assert_true(log_in("alice"));
    assert_in_range(guesses_in_a_day("alice", 0), 288, 288 + 30 + 1);
}

/* As ever, each login of the user's gives the neighbour ten guesses. */
static void test_user_who_logs_in_often_is_guessed_no_faster(void **state)
{
    (void)state;
    assert_true(log_in("alice"));
    assert_in_range(guesses_in_a_day("alice", 96), 288, 288 + 30 + 1 + 96 * 10);
}

static void test_own_account_is_no_licence_to_guess_at_strangers(void **state)
{
    (void)state;
    assert_true(log_in("mallory"));
    assert_in_range(guesses_in_a_day("alice", 0), 1, 288 + 10 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_own_mistakes_lock_nobody_out_for_more_than_a_minute, make, unmake),
        cmocka_unit_test_setup_teardown(test_who_knows_the_password_has_all_trials_again, make,
                                        unmake),
        cmocka_unit_test_setup_teardown(test_neighbour_with_an_account_guesses_no_faster, make,
                                        unmake),
        cmocka_unit_test_setup_teardown(test_user_who_logs_in_often_is_guessed_no_faster, make,
                                        unmake),
        cmocka_unit_test_setup_teardown(test_own_account_is_no_licence_to_guess_at_strangers,
                                        make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
