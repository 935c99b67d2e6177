/* The pool and workers that PAM modules have spoiled, or that have left a child (threat 36). */
#include "pool_world.h"

/* Threat 36: of two workers the old one is not asked, though it is idle. */
static void test_request_that_a_spoiled_worker_gives_back_is_for_a_new_one(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 2, (struct auth_pool_options){0});
    for (unsigned slot = 0; slot < 2; slot++) {
        ask(&world, &client, "before", "192.0.2.1:1");
        accept_login(&world, slot, receive(&world, slot, "before"));
    }
    ask(&world, &client, "alice", "192.0.2.1:1");
    give_back(&world, 0, "alice");
    assert_int_equal(world.faults, 1);
    assert_int_equal(world.loss, AUTH_WORKER_SPOILED);
    assert_nothing_for(&world, 1);
    assert_int_equal(auth_pool_state(world.pool).queued, 1);
    hire(&world, 0);
    accept_login(&world, 0, receive(&world, 0, "alice"));
    assert_int_equal(client.verdict.result, AUTH_ACCEPTED);
    assert_int_equal(auth_pool_state(world.pool).queued, 0);
    close_world(&world);
}

static void test_request_is_given_back_once(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    give_back(&world, 0, "alice");
    hire(&world, 0);
    give_back(&world, 0, "alice");
    assert_unavailable(&client, "a PAM module has spoiled the auth worker");
    assert_int_equal(world.faults, 2);
    close_world(&world);
}

static void test_request_that_is_given_back_when_its_client_has_left_is_over(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    settle(&world);
    auth_request_cancel(client.request);
    give_back(&world, 0, "alice");
    hire(&world, 0);
    assert_nothing_for(&world, 0);
    assert_int_equal(auth_pool_state(world.pool).queued, 0);
    assert_int_equal(client.calls, 0);
    close_world(&world);
}

/* Its client waits no longer than it would have without. */
static void test_request_that_finds_no_new_worker_has_an_end(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.timeout_ms = SHORT_MS});
    ask(&world, &client, "alice", "192.0.2.1:1");
    give_back(&world, 0, "alice");
    wait_until(&world, &client.calls, 1);
    assert_unavailable(&client, "no worker was free in time");
    close_world(&world);
}

static void test_spoiled_worker_that_has_decided_gets_no_more(void **state)
{
    struct world world;
    struct client clients[2];
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &clients[0], "alice", "192.0.2.1:1");
    ask(&world, &clients[1], "bob", "192.0.2.2:1");
    accept_last_login(&world, 0, receive(&world, 0, "alice"));
    assert_int_equal(clients[0].verdict.result, AUTH_ACCEPTED);
    assert_int_equal(world.loss, AUTH_WORKER_SPOILED);
    assert_int_equal(auth_pool_state(world.pool).absent, 1);
    assert_int_equal(clients[1].calls, 0);
    hire(&world, 0);
    accept_login(&world, 0, receive(&world, 0, "bob"));
    assert_int_equal(clients[1].verdict.result, AUTH_ACCEPTED);
    close_world(&world);
}

/* A child of the worker holds the socket open, so nothing shows there. */
static void test_end_of_a_worker_can_be_told(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    receive(&world, 0, "alice");
    auth_pool_worker_ended(world.pool, 0);
    settle(&world);
    assert_int_equal(world.faults, 1);
    auth_pool_worker_ended(world.pool, 0);
    auth_pool_worker_ended(world.pool, 1);
    assert_int_equal(world.faults, 1);
    hire(&world, 0);
    receive(&world, 0, "alice");
    auth_pool_worker_ended(world.pool, 0);
    settle(&world);
    assert_unavailable(&client, "the worker has gone");
    assert_int_equal(world.faults, 2);
    close_world(&world);
}

static void test_last_verdict_of_a_worker_that_has_ended_counts(void **state)
{
    struct auth_message_verdict verdict = {.result = AUTH_ACCEPTED, .login = "final"};
    char bytes[AUTH_MESSAGE_LIMIT];
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    verdict.id = receive(&world, 0, "alice");
    size_t length = auth_message_write_verdict(&verdict, bytes);
    assert_int_equal(send(world.worker[0], bytes, length, MSG_DONTWAIT), length);
    auth_pool_worker_ended(world.pool, 0);
    settle(&world);
    assert_int_equal(client.verdict.result, AUTH_ACCEPTED);
    assert_int_equal(world.faults, 1);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_that_a_spoiled_worker_gives_back_is_for_a_new_one),
        cmocka_unit_test(test_request_is_given_back_once),
        cmocka_unit_test(test_request_that_is_given_back_when_its_client_has_left_is_over),
        cmocka_unit_test(test_request_that_finds_no_new_worker_has_an_end),
        cmocka_unit_test(test_spoiled_worker_that_has_decided_gets_no_more),
        cmocka_unit_test(test_end_of_a_worker_can_be_told),
        cmocka_unit_test(test_last_verdict_of_a_worker_that_has_ended_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
