/* How fast a client sends: periods of a minute, and what excuses a slow one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/rate.h"

#define START_MS 1000000u
#define LEAST    500u
#define ENOUGH   (LEAST * RATE_PERIOD_MS / 1000)

static void test_client_that_sends_enough_is_left_alone(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_watch(&rate, START_MS, 100, false);
    assert_int_equal(rate_due_ms(&rate), START_MS + RATE_PERIOD_MS);
    assert_false(rate_was_low(&rate, START_MS + RATE_PERIOD_MS, 100 + ENOUGH, LEAST));
}

static void test_client_that_sends_one_byte_less_is_too_slow(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_watch(&rate, START_MS, 100, false);
    assert_true(rate_was_low(&rate, START_MS + RATE_PERIOD_MS, 100 + ENOUGH - 1, LEAST));
}

static void test_bytes_of_a_first_minute_do_not_pay_for_the_next(void **state)
{
    (void)state;
    struct rate rate = {0};
    uint64_t later = START_MS + RATE_PERIOD_MS;
    rate_watch(&rate, START_MS, 0, false);
    assert_false(rate_was_low(&rate, later, 100 * ENOUGH, LEAST));
    assert_int_equal(rate_due_ms(&rate), later + RATE_PERIOD_MS);
    assert_true(rate_was_low(&rate, later + RATE_PERIOD_MS, 100 * ENOUGH + 60, LEAST));
}

static void test_client_that_was_made_to_wait_is_excused_for_that_minute(void **state)
{
    (void)state;
    struct rate rate = {0};
    uint64_t later = START_MS + RATE_PERIOD_MS;
    rate_watch(&rate, START_MS, 0, false);
    rate_watch(&rate, START_MS + 1, 1, true);
    rate_watch(&rate, START_MS + 2, 2, false);
    assert_false(rate_was_low(&rate, later, 2, LEAST));
    assert_true(rate_was_low(&rate, later + RATE_PERIOD_MS, 2, LEAST));
}

static void test_late_look_judges_the_time_that_has_passed(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_watch(&rate, START_MS, 0, false);
    assert_true(rate_was_low(&rate, START_MS + 2 * RATE_PERIOD_MS, 2 * ENOUGH - 1, LEAST));
}

static void test_end_of_a_message_ends_its_period(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_true(rate_due_ms(&rate) == UINT64_MAX);
    rate_watch(&rate, START_MS, 0, true);
    rate_forget(&rate);
    assert_true(rate_due_ms(&rate) == UINT64_MAX);
    rate_watch(&rate, START_MS + 5, 7, false);
    assert_true(rate_was_low(&rate, START_MS + 5 + RATE_PERIOD_MS, 7, LEAST));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_that_sends_enough_is_left_alone),
        cmocka_unit_test(test_client_that_sends_one_byte_less_is_too_slow),
        cmocka_unit_test(test_bytes_of_a_first_minute_do_not_pay_for_the_next),
        cmocka_unit_test(test_client_that_was_made_to_wait_is_excused_for_that_minute),
        cmocka_unit_test(test_late_look_judges_the_time_that_has_passed),
        cmocka_unit_test(test_end_of_a_message_ends_its_period),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
