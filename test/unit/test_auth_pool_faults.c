/* The pool when workers die, hang, talk nonsense or are not there. */
#include "pool_world.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Threat 22: each of these costs the worker its place; its login is asked again, once. */
static void test_worker_that_talks_nonsense_is_replaced(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t length;
    } cases[] = {
        {"text", "235 ok\r\n", 8},
        {"newline", "\n", 1},
        {"header only", "PA\x01\x02", 4},
        {"a request", "PA\x01\x01\x01\0\0\0\0\0\0\0\x01\0a\x01\0b\x01\0c", 21},
        {"over-long", NULL, AUTH_MESSAGE_LIMIT + 1},
    };
    static const char zeros[AUTH_MESSAGE_LIMIT + 1];
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    for (unsigned i = 0; i < 2 * COUNT(cases); i++) {
        unsigned kind = i / 2;
        if (i % 2 == 0)
            ask(&world, &client, "alice", "192.0.2.1:1");
        receive(&world, 0, "alice");
        say(&world, 0, cases[kind].bytes ? cases[kind].bytes : zeros, cases[kind].length);
        if (i % 2 == 1)
            assert_unavailable(&client, "malformed verdict");
        else
            assert_int_equal(client.calls, 0);
        assert_int_equal(world.faults, i + 1);
        assert_int_equal(auth_pool_state(world.pool).absent, 1);
        hire(&world, 0);
    }
    close_world(&world);
}

static void test_verdict_on_another_request_lets_nobody_in(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    accept_login(&world, 0, receive(&world, 0, "alice") + 1);
    assert_int_equal(client.calls, 0);
    hire(&world, 0);
    accept_login(&world, 0, receive(&world, 0, "alice") + 1);
    assert_unavailable(&client, "verdict on another request");
    assert_int_equal(world.faults, 2);
    close_world(&world);
}

static void test_verdict_that_nobody_asked_for_lets_nobody_in(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    accept_login(&world, 0, 1);
    assert_int_equal(world.faults, 1);
    assert_string_equal(world.fault_reason, "it spoke without being asked");
    ask(&world, &client, "alice", "192.0.2.1:1");
    settle(&world);
    assert_int_equal(client.calls, 0);
    close_world(&world);
}

static void test_login_whose_worker_dies_is_asked_again(void **state)
{
    struct world world;
    struct client clients[2];
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &clients[0], "alice", "192.0.2.1:1");
    ask(&world, &clients[1], "bob", "192.0.2.2:1");
    receive(&world, 0, "alice");
    dismiss(&world, 0);
    settle(&world);
    assert_int_equal(world.faults, 1);
    assert_int_equal(clients[0].calls + clients[1].calls, 0);

    hire(&world, 0);
    accept_login(&world, 0, receive(&world, 0, "alice"));
    assert_int_equal(clients[0].verdict.result, AUTH_ACCEPTED);
    accept_login(&world, 0, receive(&world, 0, "bob"));
    assert_int_equal(clients[1].verdict.result, AUTH_ACCEPTED);
    close_world(&world);
}

/* A login that kills every worker kills two. */
static void test_login_whose_second_worker_dies_is_an_outage(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(client.calls, 0);
        hire(&world, 0);
        receive(&world, 0, "alice");
        dismiss(&world, 0);
        settle(&world);
    }
    assert_unavailable(&client, "the worker has gone");
    hire(&world, 0);
    assert_nothing_for(&world, 0);
    assert_int_equal(world.faults, 2);
    close_world(&world);
}

/* PAM was asked, but nobody waits for what it would say the second time. */
static void test_login_whose_worker_dies_after_its_client_left_is_over(void **state)
{
    struct world world;
    struct client gone;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &gone, "gone", "192.0.2.1:1");
    receive(&world, 0, "gone");
    auth_request_cancel(gone.request);
    dismiss(&world, 0);
    settle(&world);
    hire(&world, 0);
    assert_nothing_for(&world, 0);
    assert_int_equal(auth_pool_state(world.pool).queued, 0);
    assert_int_equal(gone.calls, 0);
    close_world(&world);
}

static void test_death_of_an_idle_worker_is_noticed_at_once(void **state)
{
    struct world world;
    (void)state;
    open_world(&world, 2, (struct auth_pool_options){0});
    dismiss(&world, 1);
    settle(&world);
    assert_int_equal(world.faults, 1);
    assert_int_equal(world.fault_slot, 1);
    assert_int_equal(auth_pool_state(world.pool).absent, 1);
    close_world(&world);
}

/* The worker's end may have closed before the pool's event says so. */
static void test_request_that_was_never_sent_finds_another_worker(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 2, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    dismiss(&world, 0);
    accept_login(&world, 1, receive(&world, 1, "alice"));
    assert_int_equal(client.verdict.result, AUTH_ACCEPTED);
    assert_int_equal(world.faults, 1);
    assert_int_equal(world.fault_slot, 0);
    close_world(&world);
}

/* Threat 14. */
static void test_stuck_worker_is_replaced_and_its_client_told(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = SHORT_MS});
    ask(&world, &client, "alice", "192.0.2.1:1");
    receive(&world, 0, "alice");
    wait_until(&world, &client.calls, 1);
    assert_int_equal(client.verdict.result, AUTH_UNAVAILABLE);
    assert_true(client.elapsed_ms >= SHORT_MS);
    wait_until(&world, &world.faults, 1);
    assert_string_equal(world.fault_reason, "no verdict in time");
    assert_int_equal(auth_pool_state(world.pool).absent, 1);
    close_world(&world);
}

static void test_without_workers_clients_wait_no_longer_than_the_deadline(void **state)
{
    struct world world;
    struct client clients[3];
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = SHORT_MS});
    dismiss(&world, 0);
    settle(&world);
    for (size_t i = 0; i < COUNT(clients); i++)
        ask(&world, &clients[i], "alice", "192.0.2.1:1");
    wait_until(&world, &clients[COUNT(clients) - 1].calls, 1);
    for (size_t i = 0; i < COUNT(clients); i++)
        assert_unavailable(&clients[i], "no worker was free in time");
    assert_int_equal(world.faults, 1);
    assert_int_equal(auth_pool_state(world.pool).queued, 0);
    close_world(&world);
}

/* A request may reach its worker when half of its client's time is over. */
static void test_workers_time_ends_with_its_clients(void **state)
{
    const struct timeval much_less = {.tv_usec = 300000};
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = 1000});
    dismiss(&world, 0);
    settle(&world);
    world.faults = 0;
    ask(&world, &client, "alice", "192.0.2.1:1");
    pass_time(&world, 500);
    hire(&world, 0);
    receive(&world, 0, "alice");
    wait_until(&world, &client.calls, 1);
    assert_unavailable(&client, "no verdict in time");
    unsigned ticks = world.ticks;
    event_base_once(world.base, -1, EV_TIMEOUT, on_tick, &world, &much_less);
    wait_until(&world, &world.faults, 1);
    assert_int_equal(world.ticks, ticks);
    assert_int_equal(client.calls, 1);
    wait_until(&world, &world.ticks, ticks + 1);
    close_world(&world);
}

/* A queue of clients that give up would otherwise kill worker after worker. */
static void test_login_that_comes_too_late_for_pam_gets_no_worker(void **state)
{
    struct world world;
    struct client slow[3], late, next;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = 1000});
    for (size_t i = 0; i < COUNT(slow); i++) {
        ask(&world, &slow[i], "slow", "192.0.2.1:1");
        uint64_t id = receive(&world, 0, "slow");
        pass_time(&world, 300);
        accept_login(&world, 0, id);
    }
    dismiss(&world, 0);
    settle(&world);
    world.faults = 0;
    ask(&world, &late, "late", "192.0.2.1:1");
    pass_time(&world, 930);
    ask(&world, &next, "next", "192.0.2.1:1");
    hire(&world, 0);
    accept_login(&world, 0, receive(&world, 0, "next"));
    wait_until(&world, &late.calls, 1);
    assert_unavailable(&late, "no worker was free in time");
    assert_int_equal(next.verdict.result, AUTH_ACCEPTED);
    assert_int_equal(world.faults, 0);
    close_world(&world);
}

static void test_worker_that_has_answered_may_idle(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = SHORT_MS});
    ask(&world, &client, "alice", "192.0.2.1:1");
    accept_login(&world, 0, receive(&world, 0, "alice"));
    pass_time(&world, 2 * SHORT_MS);
    assert_int_equal(world.faults, 0);
    assert_int_equal(auth_pool_state(world.pool).idle, 1);
    close_world(&world);
}

static void test_stuck_worker_is_replaced_though_its_client_left(void **state)
{
    struct world world;
    struct client gone;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = SHORT_MS});
    ask(&world, &gone, "gone", "192.0.2.1:1");
    receive(&world, 0, "gone");
    auth_request_cancel(gone.request);
    wait_until(&world, &world.faults, 1);
    assert_int_equal(gone.calls, 0);
    close_world(&world);
}

/* The new worker's socket may arrive before the old one's end is noticed. */
static void test_replacement_may_come_before_the_fault(void **state)
{
    struct world world;
    struct client clients[2];
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &clients[0], "old", "192.0.2.1:1");
    ask(&world, &clients[1], "new", "192.0.2.1:1");
    receive(&world, 0, "old");
    hire(&world, 0);
    accept_login(&world, 0, receive(&world, 0, "old"));
    assert_int_equal(clients[0].verdict.result, AUTH_ACCEPTED);
    accept_login(&world, 0, receive(&world, 0, "new"));
    assert_int_equal(clients[1].verdict.result, AUTH_ACCEPTED);
    assert_int_equal(world.faults, 0);
    close_world(&world);
}

static void test_worker_for_a_slot_that_is_none_is_not_taken(void **state)
{
    struct world world;
    int pair[2];
    char byte;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    auth_pool_attach(world.pool, 1, pair[0]);
    assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
    close(pair[1]);
    close_world(&world);
}

/* All are due in the same instant, and the first one's callback takes the second away. */
static void test_callback_at_the_deadline_may_cancel_who_is_due_too(void **state)
{
    struct world world;
    struct client first, victim, last, fresh;
    struct meddling meddling = {&world, &victim, &fresh};
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = SHORT_MS});
    dismiss(&world, 0);
    settle(&world);
    ask(&world, &first, "first", "192.0.2.1:1");
    ask(&world, &victim, "victim", "192.0.2.1:1");
    ask(&world, &last, "last", "192.0.2.1:1");
    memset(&fresh, 0, sizeof fresh);
    first.then = cancel_one_and_ask_anew;
    first.then_context = &meddling;
    wait_until(&world, &fresh.calls, 1);
    assert_int_equal(first.calls, 1);
    assert_int_equal(last.calls, 1);
    assert_int_equal(victim.calls, 0);
    close_world(&world);
}

static void test_callback_on_a_fault_may_cancel_and_submit(void **state)
{
    struct world world;
    struct client first, victim, fresh;
    struct meddling meddling = {&world, &victim, &fresh};
    (void)state;
    open_world(&world, 2, (struct auth_pool_options){0});
    ask(&world, &first, "first", "192.0.2.1:1");
    ask(&world, &victim, "victim", "192.0.2.2:1");
    first.then = cancel_one_and_ask_anew;
    first.then_context = &meddling;
    receive(&world, 0, "first");
    uint64_t id = receive(&world, 1, "victim");
    hire(&world, 0);
    receive(&world, 0, "first");
    dismiss(&world, 0);
    settle(&world);
    assert_int_equal(first.calls, 1);
    accept_login(&world, 1, id);
    receive(&world, 1, "fresh");
    assert_int_equal(victim.calls, 0);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_that_talks_nonsense_is_replaced),
        cmocka_unit_test(test_verdict_on_another_request_lets_nobody_in),
        cmocka_unit_test(test_verdict_that_nobody_asked_for_lets_nobody_in),
        cmocka_unit_test(test_login_whose_worker_dies_is_asked_again),
        cmocka_unit_test(test_login_whose_second_worker_dies_is_an_outage),
        cmocka_unit_test(test_login_whose_worker_dies_after_its_client_left_is_over),
        cmocka_unit_test(test_death_of_an_idle_worker_is_noticed_at_once),
        cmocka_unit_test(test_request_that_was_never_sent_finds_another_worker),
        cmocka_unit_test(test_stuck_worker_is_replaced_and_its_client_told),
        cmocka_unit_test(test_without_workers_clients_wait_no_longer_than_the_deadline),
        cmocka_unit_test(test_workers_time_ends_with_its_clients),
        cmocka_unit_test(test_login_that_comes_too_late_for_pam_gets_no_worker),
        cmocka_unit_test(test_worker_that_has_answered_may_idle),
        cmocka_unit_test(test_stuck_worker_is_replaced_though_its_client_left),
        cmocka_unit_test(test_replacement_may_come_before_the_fault),
        cmocka_unit_test(test_worker_for_a_slot_that_is_none_is_not_taken),
        cmocka_unit_test(test_callback_at_the_deadline_may_cancel_who_is_due_too),
        cmocka_unit_test(test_callback_on_a_fault_may_cancel_and_submit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
