/* The ring of the last hour's figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/history.h"

static struct history history;
static struct history_point points[HISTORY_POINTS];
static struct statistics sum;

#define START_MS 86400000u

static int clear(void **state)
{
    (void)state;
    memset(&history, 0, sizeof history);
    memset(&sum, 0, sizeof sum);
    return 0;
}

static void note(uint64_t now_ms, uint64_t messages)
{
    sum.messages = messages;
    history_note(&history, now_ms, &sum);
}

static void test_nothing_is_there_at_first(void **state)
{
    (void)state;
    assert_int_equal(history_read(&history, 0, points), 0);
    assert_int_equal(history_read(&history, START_MS, points), 0);
    assert_true(history_is_due(&history, START_MS));
}

static void test_first_moments_of_a_machine_are_kept(void **state)
{
    (void)state;
    assert_true(history_is_due(&history, 1));
    note(1, 7);
    assert_false(history_is_due(&history, 9999));
    assert_int_equal(history_read(&history, 1, points), 1);
    assert_int_equal(points[0].figures[HISTORY_MESSAGES], 7);
}

static void test_figures_are_added_up(void **state)
{
    unsigned relay = 0;
    (void)state;
    while (strcmp(session_state_name(relay), "relay") != 0)
        relay++;
    sum.sessions[0] = 2;
    sum.sessions[relay] = 3;
    sum.logins[SASL_PLAIN][STATISTICS_LOGIN_ACCEPTED] = 5;
    sum.logins[SASL_LOGIN][STATISTICS_LOGIN_ACCEPTED] = 6;
    sum.logins[SASL_LOGIN][STATISTICS_LOGIN_REJECTED] = 7;
    sum.logins[SASL_LOGIN][STATISTICS_LOGIN_UNAVAILABLE] = 8;
    sum.logins[SASL_LOGIN][STATISTICS_LOGIN_PUT_OFF] = 9;
    sum.bytes[0] = 10;
    sum.bytes[1] = 11;
    note(START_MS, 12);
    assert_int_equal(history_read(&history, START_MS, points), 1);
    static const uint64_t expected[HISTORY_FIGURES] = {5, 3, 11, 7, 8, 9, 12, 10, 11};
    assert_memory_equal(points[0].figures, expected, sizeof expected);
    assert_int_equal(points[0].at_ms, START_MS);
}

static void test_one_point_in_each_step(void **state)
{
    (void)state;
    note(START_MS, 1);
    note(START_MS + HISTORY_STEP_MS - 1, 2);
    note(START_MS + HISTORY_STEP_MS, 3);
    assert_int_equal(history_read(&history, START_MS + HISTORY_STEP_MS, points), 2);
    assert_int_equal(points[0].figures[HISTORY_MESSAGES], 1);
    assert_int_equal(points[1].figures[HISTORY_MESSAGES], 3);
}

static void test_an_hour_and_a_minute_before_it_are_kept_and_no_more(void **state)
{
    uint64_t now_ms = START_MS;
    (void)state;
    for (unsigned i = 0; i < 2 * HISTORY_POINTS; i++, now_ms += HISTORY_STEP_MS)
        note(now_ms, i);
    now_ms -= HISTORY_STEP_MS;
    assert_int_equal(history_read(&history, now_ms, points), HISTORY_POINTS);
    assert_true(now_ms - points[0].at_ms > 61 * 60 * 1000);
    for (unsigned i = 0; i < HISTORY_POINTS; i++)
        assert_int_equal(points[i].figures[HISTORY_MESSAGES], HISTORY_POINTS + i);
    assert_int_equal(
        history_read(&history, now_ms + (uint64_t)HISTORY_POINTS * HISTORY_STEP_MS, points), 0);
}

static void test_time_in_which_no_reactor_was_there_is_left_out(void **state)
{
    (void)state;
    note(START_MS, 1);
    note(START_MS + 600000, 2);
    assert_int_equal(history_read(&history, START_MS + 600000, points), 2);
    assert_int_equal(points[1].at_ms - points[0].at_ms, 600000);
}

static void
test_point_that_is_being_written_is_not_read_and_not_written_by_another(void **state)
{
    (void)state;
    note(START_MS, 1);
    struct history_place *place = &history.places[START_MS / HISTORY_STEP_MS % HISTORY_POINTS];
    place->turn--;
    assert_int_equal(history_read(&history, START_MS, points), 0);
    note(START_MS, 2);
    assert_int_equal(place->point.figures[HISTORY_MESSAGES], 1);
    assert_false(history_is_due(&history, START_MS));
}

/* Another process may have died while it wrote, or have written anything. */
static void test_spoiled_places_are_not_read_and_come_right_by_themselves(void **state)
{
    uint64_t turns[] = {1, 2, UINT64_MAX, UINT64_MAX - 1, 2 * (START_MS / HISTORY_STEP_MS)};
    struct history_place *place = &history.places[START_MS / HISTORY_STEP_MS % HISTORY_POINTS];
    (void)state;
    for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
        place->turn = turns[i];
        assert_int_equal(history_read(&history, START_MS, points), 0);
        note(START_MS, 5);
        assert_int_equal(history_read(&history, START_MS, points), 1);
    }
    place->point.at_ms = UINT64_MAX;
    assert_int_equal(history_read(&history, START_MS, points), 0);
    place->point.at_ms = START_MS + 1;
    assert_int_equal(history_read(&history, START_MS, points), 0);
}

static void test_figures_have_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HISTORY_FIGURES; i++)
        assert_true(strlen(history_figure_name((enum history_figure)i)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_is_there_at_first, clear),
        cmocka_unit_test_setup(test_first_moments_of_a_machine_are_kept, clear),
        cmocka_unit_test_setup(test_figures_are_added_up, clear),
        cmocka_unit_test_setup(test_one_point_in_each_step, clear),
        cmocka_unit_test_setup(test_an_hour_and_a_minute_before_it_are_kept_and_no_more, clear),
        cmocka_unit_test_setup(test_time_in_which_no_reactor_was_there_is_left_out, clear),
        cmocka_unit_test_setup(
            test_point_that_is_being_written_is_not_read_and_not_written_by_another, clear),
        cmocka_unit_test_setup(test_spoiled_places_are_not_read_and_come_right_by_themselves,
                               clear),
        cmocka_unit_test(test_figures_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
