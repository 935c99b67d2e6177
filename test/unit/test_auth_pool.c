/* The pool while its workers do what they should: order, shares, cancelling, limits. */
#include "auth/sasl.h"
#include "pool_world.h"
#include "secret_scan.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void test_verdict_reaches_the_one_who_asked(void **state)
{
    struct world world;
    struct client client;
    struct auth_message_request request;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &client, "alice", "192.0.2.7:1025");

    assert_true(received(&world, 0, &request));
    assert_string_equal(request.user, "alice");
    assert_string_equal(request.password, "secret");
    assert_string_equal(request.client_host, "192.0.2.7");
    assert_int_equal(auth_pool_state(world.pool).busy, 1);
    accept_login(&world, 0, request.id);

    assert_int_equal(client.calls, 1);
    assert_int_equal(client.verdict.result, AUTH_ACCEPTED);
    assert_string_equal(client.verdict.login, "final");
    assert_int_equal(client.verdict.delay_ms, 5);
    assert_int_equal(auth_pool_state(world.pool).idle, 1);
    assert_int_equal(world.faults, 0);
    close_world(&world);
}

static void test_those_who_wait_are_served_in_order(void **state)
{
    static const char *const users[] = {"first", "second", "third"};
    struct client clients[COUNT(users)];
    struct world world;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    for (size_t i = 0; i < COUNT(users); i++)
        ask(&world, &clients[i], users[i], "192.0.2.1:1");
    for (size_t i = 0; i < COUNT(users); i++) {
        uint64_t id = receive(&world, 0, users[i]);
        assert_nothing_for(&world, 0);
        assert_int_equal(auth_pool_state(world.pool).queued, COUNT(users) - 1 - i);
        accept_login(&world, 0, id);
        assert_int_equal(clients[i].calls, 1);
    }
    close_world(&world);
}

static void test_one_address_cannot_hold_all_workers(void **state)
{
    struct world world;
    struct client greedy[3], other;
    (void)state;
    open_world(&world, 4, (struct auth_pool_options){0});
    for (size_t i = 0; i < COUNT(greedy); i++)
        ask(&world, &greedy[i], "greedy", "192.0.2.1:1");
    ask(&world, &other, "other", "192.0.2.2:1");
    uint64_t first = receive(&world, 0, "greedy");
    receive(&world, 1, "greedy");
    receive(&world, 2, "other");
    assert_nothing_for(&world, 3);
    assert_int_equal(auth_pool_state(world.pool).queued, 1);

    accept_login(&world, 0, first);
    receive(&world, 3, "greedy");
    assert_int_equal(auth_pool_state(world.pool).queued, 0);
    close_world(&world);
}

/* Threat 36: the one that answers first, as it fails at once, is not asked first each time. */
static void test_workers_take_turns(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 3, (struct auth_pool_options){0});
    for (unsigned i = 0; i < 7; i++) {
        ask(&world, &client, "alice", "192.0.2.1:1");
        accept_login(&world, i % 3, receive(&world, i % 3, "alice"));
        assert_int_equal(client.calls, 1);
    }
    close_world(&world);
}

static void test_worker_is_replaced_after_its_number_of_logins(void **state)
{
    struct world world;
    struct client client, waiting;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.logins_per_worker = 2});
    ask(&world, &client, "alice", "192.0.2.1:1");
    accept_login(&world, 0, receive(&world, 0, "alice"));
    assert_int_equal(world.faults, 0);
    ask(&world, &client, "bob", "192.0.2.1:1");
    ask(&world, &waiting, "carol", "192.0.2.1:1");
    accept_login(&world, 0, receive(&world, 0, "bob"));
    assert_int_equal(client.verdict.result, AUTH_ACCEPTED);
    assert_int_equal(world.faults, 1);
    assert_int_equal(world.loss, AUTH_WORKER_SPENT);
    assert_string_equal(world.fault_reason, "it has decided 2 logins");

    hire(&world, 0);
    accept_login(&world, 0, receive(&world, 0, "carol"));
    assert_int_equal(waiting.verdict.result, AUTH_ACCEPTED);
    auth_pool_keep_workers(world.pool);
    ask(&world, &client, "alice", "192.0.2.1:1");
    accept_login(&world, 0, receive(&world, 0, "alice"));
    assert_int_equal(world.faults, 1);
    assert_int_equal(auth_pool_state(world.pool).idle, 1);
    close_world(&world);
}

static void test_addresses_of_one_network_share_one_share(void **state)
{
    struct world world;
    struct client clients[3];
    (void)state;
    open_world(&world, 3, (struct auth_pool_options){.share = 1});
    ask(&world, &clients[0], "a", "[2001:db8:1:2::1]:1");
    ask(&world, &clients[1], "b", "[2001:db8:1:2::2]:1");
    ask(&world, &clients[2], "c", "[2001:db8:1:3::1]:1");
    receive(&world, 0, "a");
    receive(&world, 1, "c");
    assert_nothing_for(&world, 2);
    close_world(&world);
}

static void test_single_worker_serves_everybody(void **state)
{
    struct world world;
    struct client client;
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.share = 0});
    ask(&world, &client, "alice", "192.0.2.1:1");
    receive(&world, 0, "alice");
    close_world(&world);
}

static void test_client_that_left_the_queue_costs_no_worker(void **state)
{
    struct world world;
    struct client clients[3];
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &clients[0], "first", "192.0.2.1:1");
    ask(&world, &clients[1], "gone", "192.0.2.1:1");
    ask(&world, &clients[2], "last", "192.0.2.1:1");
    uint64_t id = receive(&world, 0, "first");
    auth_request_cancel(clients[1].request);
    assert_int_equal(auth_pool_state(world.pool).queued, 1);
    accept_login(&world, 0, id);
    receive(&world, 0, "last");
    assert_int_equal(clients[1].calls, 0);
    close_world(&world);
}

/* Otherwise a client that hangs up and comes back would have as many workers as it likes. */
static void test_client_that_left_its_worker_still_counts(void **state)
{
    struct world world;
    struct client gone, next;
    (void)state;
    open_world(&world, 2, (struct auth_pool_options){.share = 1});
    ask(&world, &gone, "gone", "192.0.2.1:1");
    uint64_t id = receive(&world, 0, "gone");
    auth_request_cancel(gone.request);
    ask(&world, &next, "next", "192.0.2.1:1");
    assert_nothing_for(&world, 1);
    assert_int_equal(auth_pool_state(world.pool).busy, 1);

    accept_login(&world, 0, id);
    receive(&world, 1, "next");
    assert_int_equal(gone.calls, 0);
    assert_int_equal(world.faults, 0);
    close_world(&world);
}

static void test_full_queue_refuses_at_once(void **state)
{
    struct world world;
    struct client clients[3], further;
    struct address address = address_of("192.0.2.9:1");
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){.queue_limit = 2});
    for (size_t i = 0; i < COUNT(clients); i++)
        ask(&world, &clients[i], "alice", "192.0.2.1:1");
    assert_null(
        auth_pool_submit(world.pool, "x", "y", client_at(&address), on_verdict, &further));
    settle(&world);
    assert_null(
        auth_pool_submit(world.pool, "x", "y", client_at(&address), on_verdict, &further));
    auth_request_cancel(clients[2].request);
    ask(&world, &further, "bob", "192.0.2.9:1");
    close_world(&world);
}

static void test_credentials_beyond_the_limits_are_not_cut(void **state)
{
    char name[SASL_USER_LIMIT + 2], password[SASL_PASSWORD_LIMIT + 2];
    struct address address = address_of("192.0.2.9:1");
    struct world world;
    struct client client;
    (void)state;
    memset(name, 'x', sizeof name);
    memset(password, 'x', sizeof password);
    name[sizeof name - 1] = password[sizeof password - 1] = '\0';
    open_world(&world, 1, (struct auth_pool_options){0});
    assert_null(
        auth_pool_submit(world.pool, name, "y", client_at(&address), on_verdict, &client));
    assert_null(
        auth_pool_submit(world.pool, "x", password, client_at(&address), on_verdict, &client));
    assert_null(
        auth_pool_submit(world.pool, "", "y", client_at(&address), on_verdict, &client));
    assert_null(
        auth_pool_submit(world.pool, "a\nb", "y", client_at(&address), on_verdict, &client));
    assert_int_equal(auth_pool_state(world.pool).queued, 0);
    close_world(&world);
}

static void test_callback_may_cancel_and_submit(void **state)
{
    struct world world;
    struct client first, victim, last, fresh;
    struct meddling meddling = {&world, &victim, &fresh};
    (void)state;
    open_world(&world, 1, (struct auth_pool_options){0});
    ask(&world, &first, "first", "192.0.2.1:1");
    ask(&world, &victim, "victim", "192.0.2.1:1");
    ask(&world, &last, "last", "192.0.2.1:1");
    first.then = cancel_one_and_ask_anew;
    first.then_context = &meddling;
    accept_login(&world, 0, receive(&world, 0, "first"));
    accept_login(&world, 0, receive(&world, 0, "last"));
    accept_login(&world, 0, receive(&world, 0, "fresh"));
    assert_int_equal(victim.calls, 0);
    assert_int_equal(first.calls + last.calls + fresh.calls, 3);
    close_world(&world);
}

static void test_pool_that_goes_calls_nobody(void **state)
{
    struct world world;
    struct client busy, gone, waiting;
    (void)state;
    open_world(&world, 2, (struct auth_pool_options){.share = 1});
    ask(&world, &busy, "busy", "192.0.2.1:1");
    ask(&world, &gone, "gone", "192.0.2.2:1");
    ask(&world, &waiting, "waiting", "192.0.2.1:1");
    receive(&world, 0, "busy");
    receive(&world, 1, "gone");
    auth_request_cancel(gone.request);
    close_world(&world);
    assert_int_equal(busy.calls + gone.calls + waiting.calls, 0);
}

static void submit_secret(struct world *world, struct client *client, const char *turned)
{
    struct address address = address_of("192.0.2.1:1");
    char secret[SECRET_LENGTH + 1];
    memset(client, 0, sizeof *client);
    secret_reveal(turned, secret);
    client->request =
        auth_pool_submit(world->pool, "alice", secret, client_at(&address), on_verdict, client);
    assert_non_null(client->request);
    explicit_bzero(secret, sizeof secret);
}

/* Promise 7. */
static void test_password_is_nowhere_once_it_is_decided_or_cancelled(void **state)
{
    struct world world;
    struct client sent, cancelled;
    char turned[SECRET_LENGTH];
    (void)state;
    secret_make(turned);
    open_world(&world, 1, (struct auth_pool_options){0});
    assert_int_equal(secret_count(turned), 0);
    submit_secret(&world, &sent, turned);
    submit_secret(&world, &cancelled, turned);
    assert_int_equal(secret_count(turned), 2);
    uint64_t id = receive(&world, 0, "alice");
    auth_request_cancel(cancelled.request);
    assert_int_equal(secret_count(turned), 1);
    accept_login(&world, 0, id);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(secret_count(turned), 0);

    submit_secret(&world, &cancelled, turned);
    receive(&world, 0, "alice");
    auth_request_cancel(cancelled.request);
    assert_int_equal(secret_count(turned), 0);
    close_world(&world);
}

/* Promise 7: it is there while it waits for another worker, and no longer. */
static void test_password_of_a_lost_worker_is_nowhere_once_it_is_decided(void **state)
{
    struct world world;
    struct client client;
    char turned[SECRET_LENGTH];
    (void)state;
    secret_make(turned);
    open_world(&world, 1, (struct auth_pool_options){0});
    submit_secret(&world, &client, turned);
    give_back(&world, 0, "alice");
    assert_int_equal(secret_count(turned), 1);
    hire(&world, 0);
    give_back(&world, 0, "alice");
    assert_int_equal(client.calls, 1);
    assert_int_equal(secret_count(turned), 0);

    hire(&world, 0);
    submit_secret(&world, &client, turned);
    give_back(&world, 0, "alice");
    auth_request_cancel(client.request);
    assert_int_equal(secret_count(turned), 0);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdict_reaches_the_one_who_asked),
        cmocka_unit_test(test_those_who_wait_are_served_in_order),
        cmocka_unit_test(test_one_address_cannot_hold_all_workers),
        cmocka_unit_test(test_workers_take_turns),
        cmocka_unit_test(test_worker_is_replaced_after_its_number_of_logins),
        cmocka_unit_test(test_addresses_of_one_network_share_one_share),
        cmocka_unit_test(test_single_worker_serves_everybody),
        cmocka_unit_test(test_client_that_left_the_queue_costs_no_worker),
        cmocka_unit_test(test_client_that_left_its_worker_still_counts),
        cmocka_unit_test(test_full_queue_refuses_at_once),
        cmocka_unit_test(test_credentials_beyond_the_limits_are_not_cut),
        cmocka_unit_test(test_callback_may_cancel_and_submit),
        cmocka_unit_test(test_pool_that_goes_calls_nobody),
        cmocka_unit_test(test_password_is_nowhere_once_it_is_decided_or_cancelled),
        cmocka_unit_test(test_password_of_a_lost_worker_is_nowhere_once_it_is_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
