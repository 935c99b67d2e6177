/* Who is connected: the counts that limits are kept by, and who gives way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/connections.h"

static struct address client(const char *text)
{
    struct address address;
    const char *why = NULL;
    if (!address_parse(text, &address, &why))
        fail_msg("%s: %s", text, why);
    return address;
}

static unsigned from(const struct connections *connections, const char *text)
{
    struct address address = client(text);
    return connections_count_from(connections, &address);
}

static void add(struct connections *connections, struct connection *connection,
                const char *text)
{
    struct address address = client(text);
    assert_true(connections_add(connections, connection, &address));
}

static void move(struct connections *connections, struct connection *connection,
                 const char *text)
{
    struct address address = client(text);
    assert_true(connections_move(connections, connection, &address));
}

static const struct connection *spared;

static bool is_spared(struct connection *connection)
{
    return connection == spared;
}

static struct connection *oldest(const struct connections *connections)
{
    return connections_oldest(connections, is_spared);
}

static void test_oldest_who_has_not_logged_in_gives_way(void **state)
{
    struct connections *connections = connections_new();
    struct connection each[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        add(connections, &each[i], "192.0.2.1:1");
    assert_int_equal(from(connections, "192.0.2.1:9"), 3);
    assert_ptr_equal(oldest(connections), &each[0]);
    connections_promote(connections, &each[0], CONNECTION_AUTHENTICATED);
    assert_ptr_equal(oldest(connections), &each[1]);
    connections_remove(connections, &each[1]);
    assert_ptr_equal(oldest(connections), &each[2]);
    connections_remove(connections, &each[2]);
    assert_null(oldest(connections));
    connections_remove(connections, &each[0]);
    assert_int_equal(connections_count(connections), 0);
    assert_int_equal(from(connections, "192.0.2.1:1"), 0);
    connections_free(connections);
}

/* Threat 27: they keep their place as long as they leave half of the house to others. */
static void test_strangers_give_way_when_they_are_most(void **state)
{
    struct connections *connections = connections_new();
    struct connection each[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        add(connections, &each[i], "192.0.2.1:1");
    connections_promote(connections, &each[0], CONNECTION_STRANGER);
    connections_promote(connections, &each[1], CONNECTION_STRANGER);
    assert_ptr_equal(oldest(connections), &each[2]);
    connections_promote(connections, &each[2], CONNECTION_STRANGER);
    assert_ptr_equal(oldest(connections), &each[0]);
    connections_remove(connections, &each[0]);
    connections_promote(connections, &each[3], CONNECTION_AUTHENTICATED);
    assert_ptr_equal(oldest(connections), &each[1]);
    for (int i = 1; i < 4; i++)
        connections_remove(connections, &each[i]);
    assert_null(oldest(connections));
    connections_free(connections);
}

static void test_next_one_gives_way_for_whom_is_spared(void **state)
{
    struct connections *connections = connections_new();
    struct connection each[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        add(connections, &each[i], "192.0.2.1:1");
    spared = &each[0];
    assert_ptr_equal(oldest(connections), &each[1]);
    connections_promote(connections, &each[0], CONNECTION_STRANGER);
    connections_promote(connections, &each[1], CONNECTION_STRANGER);
    assert_ptr_equal(oldest(connections), &each[1]);
    connections_promote(connections, &each[1], CONNECTION_AUTHENTICATED);
    assert_ptr_equal(oldest(connections), &each[2]);
    connections_remove(connections, &each[2]);
    assert_null(oldest(connections));
    spared = NULL;
    assert_ptr_equal(oldest(connections), &each[0]);
    for (int i = 0; i < 2; i++)
        connections_remove(connections, &each[i]);
    connections_free(connections);
}

/* Behind a load balancer: it counts for whom it announces, and is no younger for that. */
static void test_announced_client_counts_in_the_balancers_place(void **state)
{
    struct connections *connections = connections_new();
    struct connection each[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        add(connections, &each[i], "192.0.2.1:1");
    move(connections, &each[0], "203.0.113.9:40000");
    move(connections, &each[1], "203.0.113.9:40001");
    move(connections, &each[1], "203.0.113.9:40002");
    move(connections, &each[2], "[2001:db8::1]:1");
    assert_int_equal(from(connections, "192.0.2.1:1"), 0);
    assert_int_equal(from(connections, "203.0.113.9:1"), 2);
    assert_int_equal(from(connections, "[2001:db8::2]:1"), 1);
    assert_int_equal(connections_count(connections), 3);
    assert_ptr_equal(oldest(connections), &each[0]);
    for (int i = 0; i < 3; i++)
        connections_remove(connections, &each[i]);
    assert_int_equal(from(connections, "203.0.113.9:1"), 0);
    connections_free(connections);
}

static unsigned strangers_from(const struct connections *connections, const char *text)
{
    struct address address = client(text);
    return connections_strangers_from(connections, &address);
}

/* Threat 42: those of one address, an IPv6 client by its network, and nobody else's. */
static void test_strangers_are_counted_by_address(void **state)
{
    struct connections *connections = connections_new();
    struct connection each[4];
    (void)state;
    add(connections, &each[0], "[2001:db8:0:1::1]:1");
    add(connections, &each[1], "[2001:db8:0:1:ffff::2]:1");
    add(connections, &each[2], "[2001:db8:0:2::1]:1");
    add(connections, &each[3], "192.0.2.1:1");
    assert_int_equal(strangers_from(connections, "[2001:db8:0:1::3]:1"), 0);
    connections_promote(connections, &each[0], CONNECTION_STRANGER);
    connections_promote(connections, &each[1], CONNECTION_STRANGER);
    connections_promote(connections, &each[3], CONNECTION_AUTHENTICATED);
    assert_int_equal(strangers_from(connections, "[2001:db8:0:1::3]:1"), 2);
    assert_int_equal(strangers_from(connections, "[2001:db8:0:2::1]:1"), 0);
    assert_int_equal(strangers_from(connections, "192.0.2.1:1"), 0);

    move(connections, &each[1], "192.0.2.1:9");
    assert_int_equal(strangers_from(connections, "[2001:db8:0:1::3]:1"), 1);
    assert_int_equal(strangers_from(connections, "192.0.2.1:1"), 1);
    connections_promote(connections, &each[1], CONNECTION_AUTHENTICATED);
    assert_int_equal(strangers_from(connections, "192.0.2.1:1"), 0);
    for (int i = 0; i < 4; i++)
        connections_remove(connections, &each[i]);
    assert_int_equal(strangers_from(connections, "[2001:db8:0:1::3]:1"), 0);
    connections_free(connections);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oldest_who_has_not_logged_in_gives_way),
        cmocka_unit_test(test_strangers_give_way_when_they_are_most),
        cmocka_unit_test(test_next_one_gives_way_for_whom_is_spared),
        cmocka_unit_test(test_announced_client_counts_in_the_balancers_place),
        cmocka_unit_test(test_strangers_are_counted_by_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
