/* When refusals leave: what PAM said, and how long it took, is in no result (threats 45, 46).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/schedule.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])
#define START_MS     UINT64_C(1234567)

static const uint32_t delays_ms[] = {1000, 2000, 3000, 7000, 60000};

static void test_verdicts_within_a_quantum_are_all_settled_at_its_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(delays_ms); i++) {
        struct auth_schedule schedule = auth_schedule_make(delays_ms[i]);
        uint32_t quantum_ms = schedule.quantum_ms;
        assert_in_range(quantum_ms, 1, AUTH_QUANTUM_LIMIT_MS);
        for (uint64_t taken = 0; taken <= quantum_ms; taken++)
            assert_int_equal(auth_schedule_settled_ms(&schedule, START_MS, START_MS + taken),
                             START_MS + quantum_ms);
        for (uint64_t taken = quantum_ms + 1; taken <= 2ull * quantum_ms; taken++)
            assert_int_equal(auth_schedule_settled_ms(&schedule, START_MS, START_MS + taken),
                             START_MS + 2ull * quantum_ms);
    }
}

static void test_refusal_leaves_whole_delays_after_its_attempt(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(delays_ms); i++) {
        struct auth_schedule schedule = auth_schedule_make(delays_ms[i]);
        for (uint64_t waited = 0; waited < 5ull * delays_ms[i]; waited += 37) {
            uint64_t settled_ms = START_MS + waited;
            uint64_t due_ms = auth_schedule_due_ms(&schedule, START_MS, settled_ms);
            assert_true(due_ms >= settled_ms && due_ms >= START_MS + delays_ms[i]);
            assert_int_equal((due_ms - START_MS) % delays_ms[i], 0);
            assert_true(due_ms - settled_ms <= delays_ms[i] + schedule.quantum_ms);
        }
    }
}

/* `count` logins of one address, all submitted at the start, of which PAM is asked `share` at
 * once; PAM takes as long as `taken_ms` says of each. Fills in when each refusal leaves. */
static void play(const struct auth_schedule *schedule, const uint32_t *taken_ms, size_t count,
                 size_t share, uint64_t *due_ms)
{
    uint64_t free_ms[8] = {0};
    for (size_t i = 0; i < count; i++) {
        size_t first = 0;
        for (size_t at = 1; at < share; at++)
            if (free_ms[at] < free_ms[first])
                first = at;
        uint64_t asked_ms = free_ms[first] > START_MS ? free_ms[first] : START_MS;
        free_ms[first] = auth_schedule_settled_ms(schedule, asked_ms, asked_ms + taken_ms[i]);
        due_ms[i] = auth_schedule_due_ms(schedule, START_MS, free_ms[first]);
    }
}

static void test_wait_in_the_queue_does_not_show_how_long_pam_takes(void **state)
{
    enum { LOGINS = 150 };
    static uint32_t taken_ms[LOGINS];
    static uint64_t quick_ms[LOGINS], due_ms[LOGINS];
    struct auth_schedule schedule = auth_schedule_make(2000);
    uint32_t random = 1;
    (void)state;
    for (size_t share = 1; share <= 8; share++) {
        for (size_t i = 0; i < LOGINS; i++)
            taken_ms[i] = 0;
        play(&schedule, taken_ms, LOGINS, share, quick_ms);
        for (unsigned again = 0; again < 100; again++) {
            for (size_t i = 0; i < LOGINS; i++)
                taken_ms[i] =
                    (random = random * 1103515245 + 12345) / 65536 % (schedule.quantum_ms + 1);
            play(&schedule, taken_ms, LOGINS, share, due_ms);
            assert_memory_equal(due_ms, quick_ms, sizeof due_ms);
        }
    }
}

/* A busy machine, or a directory far away: from the first slow answer on, slow and quick ones
 * are settled alike. */
static void test_quantum_grows_until_pams_time_fits(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(delays_ms); i++) {
        struct auth_schedule schedule = auth_schedule_make(delays_ms[i]);
        uint32_t first_ms = schedule.quantum_ms;
        auth_schedule_took(&schedule, first_ms);
        assert_int_equal(schedule.quantum_ms, first_ms);
        auth_schedule_took(&schedule, first_ms + 1);
        assert_int_equal(schedule.quantum_ms, 2 * first_ms);
        auth_schedule_took(&schedule, 0);
        assert_int_equal(schedule.quantum_ms, 2 * first_ms);
        assert_int_equal(
            auth_schedule_settled_ms(&schedule, START_MS, START_MS),
            auth_schedule_settled_ms(&schedule, START_MS, START_MS + first_ms + 1));
        auth_schedule_took(&schedule, UINT64_MAX);
        assert_in_range(schedule.quantum_ms, delays_ms[i] / 2 + 1, delays_ms[i]);
        for (uint64_t settled = 0; settled < 20; settled++) {
            uint64_t settled_ms = START_MS + settled * schedule.quantum_ms;
            uint64_t late_ms = settled_ms + schedule.quantum_ms / 4;
            assert_int_equal(auth_schedule_due_ms(&schedule, START_MS, settled_ms),
                             auth_schedule_due_ms(&schedule, START_MS, late_ms));
        }
    }
}

static void test_slow_answers_without_a_delay_change_nothing(void **state)
{
    struct auth_schedule schedule = auth_schedule_make(0);
    (void)state;
    auth_schedule_took(&schedule, UINT64_MAX);
    assert_int_equal(schedule.quantum_ms, 0);
}

/* pam_unix asks for 2 s, which libpam makes 1 to 3: a refusal of the account phase, which asks
 * for nothing, takes as long as all others from the first one on. */
static void test_random_part_of_a_wish_changes_nothing(void **state)
{
    struct auth_schedule schedule = auth_schedule_make(2000);
    (void)state;
    for (uint32_t wished_ms = 0; wished_ms <= 3000; wished_ms++)
        auth_schedule_wish(&schedule, wished_ms);
    assert_int_equal(schedule.delay_ms, 2000);
}

static void test_longest_wish_holds_for_all_refusals_that_follow(void **state)
{
    struct auth_schedule schedule = auth_schedule_make(2000);
    uint32_t quantum_ms = schedule.quantum_ms;
    (void)state;
    auth_schedule_wish(&schedule, 3600);
    assert_int_equal(schedule.delay_ms, 4000);
    auth_schedule_wish(&schedule, 1000);
    auth_schedule_wish(&schedule, 0);
    auth_schedule_wish(&schedule, 6000);
    assert_int_equal(schedule.delay_ms, 4000);
    assert_int_equal(schedule.quantum_ms, quantum_ms);
    assert_int_equal(auth_schedule_due_ms(&schedule, START_MS, START_MS + 500),
                     START_MS + 4000);
    auth_schedule_wish(&schedule, UINT32_MAX);
    assert_true(schedule.delay_ms >= UINT32_MAX / 3 * 2);
}

static void test_without_a_delay_a_refusal_leaves_with_the_verdict(void **state)
{
    struct auth_schedule schedule = auth_schedule_make(0);
    (void)state;
    assert_int_equal(auth_schedule_settled_ms(&schedule, START_MS, START_MS + 3), START_MS + 3);
    assert_int_equal(auth_schedule_due_ms(&schedule, START_MS, START_MS + 3), START_MS + 3);
    auth_schedule_wish(&schedule, 1400);
    assert_int_equal(auth_schedule_due_ms(&schedule, START_MS, START_MS + 3), START_MS + 1000);
}

static void test_clock_that_seems_to_go_back_is_no_time(void **state)
{
    struct auth_schedule schedule = auth_schedule_make(2000);
    (void)state;
    assert_int_equal(auth_schedule_settled_ms(&schedule, START_MS, START_MS - 1),
                     START_MS + 500);
    assert_int_equal(auth_schedule_due_ms(&schedule, START_MS, START_MS - 1), START_MS + 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts_within_a_quantum_are_all_settled_at_its_end),
        cmocka_unit_test(test_refusal_leaves_whole_delays_after_its_attempt),
        cmocka_unit_test(test_wait_in_the_queue_does_not_show_how_long_pam_takes),
        cmocka_unit_test(test_quantum_grows_until_pams_time_fits),
        cmocka_unit_test(test_slow_answers_without_a_delay_change_nothing),
        cmocka_unit_test(test_random_part_of_a_wish_changes_nothing),
        cmocka_unit_test(test_longest_wish_holds_for_all_refusals_that_follow),
        cmocka_unit_test(test_without_a_delay_a_refusal_leaves_with_the_verdict),
        cmocka_unit_test(test_clock_that_seems_to_go_back_is_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
