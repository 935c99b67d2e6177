/* The pool and what is no success: held for its time, judged, counted, and told once. */
#include "pool_world.h"

/* Its quantum is nearly as long as one can be at first. */
#define DELAY_MS 60000

struct limits {
    unsigned judgement, judged, counted;
    enum auth_result result;
    char user[16];
};

static unsigned judge(void *context, const struct address *client, const char *user)
{
    struct limits *limits = context;
    (void)client, (void)user;
    limits->judged++;
    return limits->judgement;
}

static bool count(void *context, const struct address *client, const char *user,
                  const struct auth_message_verdict *verdict)
{
    struct limits *limits = context;
    char host[ADDRESS_HOST_SIZE];
    address_host(client, host);
    assert_string_equal(host, "192.0.2.1");
    limits->counted++;
    limits->result = verdict->result;
    snprintf(limits->user, sizeof limits->user, "%s", user);
    return true;
}

static void open_limited(struct world *world, struct limits *limits, unsigned workers,
                         uint32_t delay_ms)
{
    *limits = (struct limits){0};
    open_world(world, workers,
               (struct auth_pool_options){.share = 1,
                                          .failure_delay_ms = delay_ms,
                                          .judge = judge,
                                          .count = count,
                                          .limits = limits});
}

static void answer(struct world *world, unsigned slot, uint64_t id, enum auth_result result)
{
    struct auth_message_verdict verdict = {.id = id, .result = result};
    char bytes[AUTH_MESSAGE_LIMIT];
    say(world, slot, bytes, auth_message_write_verdict(&verdict, bytes));
}

static void assert_due(const struct client *client, uint64_t submitted_ms)
{
    uint64_t wait_ms = client->due_ms - submitted_ms;
    assert_true(wait_ms >= DELAY_MS && wait_ms < DELAY_MS + 1000);
}

/* Promise 6 for others, and threat 45 for itself. */
static void test_refusal_occupies_its_address_and_no_worker(void **state)
{
    static const enum auth_result results[] = {AUTH_REJECTED, AUTH_UNAVAILABLE};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world world;
        struct limits limits;
        struct client refused, next, other;
        open_limited(&world, &limits, 2, DELAY_MS);
        uint64_t submitted_ms = clock_now_ms();
        ask(&world, &refused, "refused", "192.0.2.1:1");
        ask(&world, &next, "next", "192.0.2.1:1");
        answer(&world, 0, receive(&world, 0, "refused"), results[i]);
        assert_int_equal(refused.calls, 0);
        assert_int_equal(auth_pool_state(world.pool).idle, 2);
        assert_nothing_for(&world, 1);
        ask(&world, &other, "other", "192.0.2.2:1");
        receive(&world, 1, "other");
        wait_until(&world, &refused.calls, 1);
        assert_due(&refused, submitted_ms);
        receive(&world, 0, "next");
        assert_int_equal(limits.counted, 1);
        assert_int_equal(limits.result, results[i]);
        close_world(&world);
    }
}

static void test_success_is_told_and_counted_at_once(void **state)
{
    struct world world;
    struct limits limits;
    struct client client, next;
    (void)state;
    open_limited(&world, &limits, 1, DELAY_MS);
    ask(&world, &client, "alice", "192.0.2.1:1");
    ask(&world, &next, "next", "192.0.2.1:1");
    accept_login(&world, 0, receive(&world, 0, "alice"));
    assert_int_equal(client.calls, 1);
    assert_int_equal(limits.counted, 1);
    assert_int_equal(limits.result, AUTH_ACCEPTED);
    receive(&world, 0, "next");
    close_world(&world);
}

static void test_success_that_comes_too_late_is_held_like_a_refusal(void **state)
{
    struct world world;
    struct limits limits;
    struct client client, next;
    (void)state;
    open_limited(&world, &limits, 1, DELAY_MS);
    uint64_t submitted_ms = clock_now_ms();
    ask(&world, &client, "alice", "192.0.2.1:1");
    ask(&world, &next, "next", "192.0.2.1:1");
    uint64_t id = receive(&world, 0, "alice");
    limits.judgement = 7;
    accept_login(&world, 0, id);
    assert_int_equal(client.calls, 0);
    assert_nothing_for(&world, 0);
    wait_until(&world, &client.calls, 1);
    assert_int_equal(client.judgement, 7);
    assert_due(&client, submitted_ms);
    assert_int_equal(limits.counted, 0);
    close_world(&world);
}

/* PAM is not asked for those who wait while a limit is reached. */
static void test_queue_is_put_off_when_a_limit_is_reached(void **state)
{
    struct world world;
    struct limits limits;
    struct client first, waiting[3];
    (void)state;
    open_limited(&world, &limits, 1, DELAY_MS);
    uint64_t submitted_ms = clock_now_ms();
    ask(&world, &first, "first", "192.0.2.1:1");
    for (size_t i = 0; i < 3; i++)
        ask(&world, &waiting[i], "waiting", "192.0.2.1:1");
    answer(&world, 0, receive(&world, 0, "first"), AUTH_REJECTED);
    auth_request_cancel(waiting[1].request);
    limits.judgement = 3;
    wait_until(&world, &waiting[2].calls, 1);
    assert_int_equal(first.calls, 1);
    assert_int_equal(waiting[0].calls, 1);
    assert_int_equal(waiting[0].judgement, 3);
    assert_due(&waiting[0], submitted_ms);
    assert_int_equal(waiting[1].calls, 0);
    assert_nothing_for(&world, 0);
    assert_int_equal(auth_pool_state(world.pool).queued, 0);
    assert_int_equal(limits.counted, 0);
    close_world(&world);
}

/* Many users share an exempt address: one's mistakes hold up nobody, and limits hear nothing.
 */
static void test_refusal_at_an_exempt_address_holds_up_nobody(void **state)
{
    struct world world;
    struct limits limits;
    struct client refused = {0}, next = {0};
    struct address address = address_of("192.0.2.1:1");
    struct auth_client exempt = {.address = &address, .is_exempt = true};
    (void)state;
    open_limited(&world, &limits, 1, DELAY_MS);
    limits.judgement = 1;
    uint64_t submitted_ms = clock_now_ms();
    refused.request =
        auth_pool_submit(world.pool, "refused", "x", exempt, on_verdict, &refused);
    next.request = auth_pool_submit(world.pool, "next", "x", exempt, on_verdict, &next);
    answer(&world, 0, receive(&world, 0, "refused"), AUTH_REJECTED);
    receive(&world, 0, "next");
    assert_int_equal(refused.calls, 1);
    assert_int_equal(refused.judgement, 0);
    assert_due(&refused, submitted_ms);
    assert_int_equal(limits.counted, 0);
    close_world(&world);
}

/* Hanging up in time would make a guess free, or free the share early. */
static void test_refusal_counts_although_its_client_has_gone(void **state)
{
    struct world world;
    struct limits limits;
    struct client early, late, next;
    (void)state;
    open_limited(&world, &limits, 2, DELAY_MS);
    ask(&world, &early, "early", "192.0.2.1:1");
    ask(&world, &late, "late", "192.0.2.1:1");
    ask(&world, &next, "next", "192.0.2.1:1");
    uint64_t id = receive(&world, 0, "early");
    auth_request_cancel(early.request);
    answer(&world, 0, id, AUTH_REJECTED);
    assert_nothing_for(&world, 1);
    wait_until(&world, &limits.counted, 1);
    answer(&world, 1, receive(&world, 1, "late"), AUTH_REJECTED);
    auth_request_cancel(late.request);
    assert_nothing_for(&world, 0);
    wait_until(&world, &limits.counted, 2);
    assert_string_equal(limits.user, "late");
    receive(&world, 0, "next");
    assert_int_equal(early.calls + late.calls, 0);
    close_world(&world);
}

static void test_success_that_nobody_waits_for_shows_in_nothing(void **state)
{
    struct world world;
    struct limits limits;
    struct client gone, next;
    (void)state;
    open_limited(&world, &limits, 1, DELAY_MS);
    ask(&world, &gone, "gone", "192.0.2.1:1");
    ask(&world, &next, "next", "192.0.2.1:1");
    uint64_t id = receive(&world, 0, "gone");
    auth_request_cancel(gone.request);
    accept_login(&world, 0, id);
    assert_nothing_for(&world, 0);
    pass_time(&world, AUTH_QUANTUM_LIMIT_MS);
    receive(&world, 0, "next");
    assert_int_equal(limits.counted, 0);
    close_world(&world);
}

static void test_pool_that_goes_forgets_what_it_holds(void **state)
{
    struct world world;
    struct limits limits;
    struct client held, gone, put_off;
    (void)state;
    open_limited(&world, &limits, 3, DELAY_MS);
    ask(&world, &held, "held", "192.0.2.1:1");
    ask(&world, &gone, "gone", "192.0.2.2:1");
    ask(&world, &put_off, "put-off", "192.0.2.3:1");
    answer(&world, 0, receive(&world, 0, "held"), AUTH_REJECTED);
    uint64_t id = receive(&world, 1, "gone");
    answer(&world, 1, id, AUTH_UNAVAILABLE);
    auth_request_cancel(gone.request);
    limits.judgement = 1;
    accept_login(&world, 2, receive(&world, 2, "put-off"));
    close_world(&world);
    assert_int_equal(held.calls + gone.calls + put_off.calls + limits.counted, 0);
}

/* The worker is busy longer than the client waits: two ends of one request. */
static void test_late_verdict_changes_nothing_of_what_was_decided(void **state)
{
    struct world world;
    struct limits limits;
    struct client first, second;
    (void)state;
    open_world(&world, 1,
               (struct auth_pool_options){.timeout_ms = SHORT_MS,
                                          .failure_delay_ms = DELAY_MS,
                                          .count = count,
                                          .limits = &limits});
    limits = (struct limits){0};
    ask(&world, &first, "first", "192.0.2.1:1");
    uint64_t id = receive(&world, 0, "first");
    pass_time(&world, SHORT_MS / 2);
    ask(&world, &second, "second", "192.0.2.1:1");
    accept_login(&world, 0, id);
    id = receive(&world, 0, "second");
    wait_until(&world, &second.calls, 1);
    assert_int_equal(second.verdict.result, AUTH_UNAVAILABLE);
    assert_int_equal(limits.counted, 2);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusal_occupies_its_address_and_no_worker),
        cmocka_unit_test(test_success_is_told_and_counted_at_once),
        cmocka_unit_test(test_success_that_comes_too_late_is_held_like_a_refusal),
        cmocka_unit_test(test_queue_is_put_off_when_a_limit_is_reached),
        cmocka_unit_test(test_refusal_at_an_exempt_address_holds_up_nobody),
        cmocka_unit_test(test_refusal_counts_although_its_client_has_gone),
        cmocka_unit_test(test_success_that_nobody_waits_for_shows_in_nothing),
        cmocka_unit_test(test_pool_that_goes_forgets_what_it_holds),
        cmocka_unit_test(test_late_verdict_changes_nothing_of_what_was_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
