/* Threat 22: what a reactor and its opener say to each other, whole, broken and made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/opener_message.h"

static struct address address_of(const char *text)
{
    struct address address;
    const char *why = NULL;
    if (!address_parse(text, &address, &why))
        fail_msg("%s", why);
    return address;
}

static struct opener_order make_order(void)
{
    struct opener_order order = {.id = 0x0123456789abcdef, .backend = 0x0203, .tls = "TLSv1.3"};
    order.client = address_of("203.0.113.9:4711");
    order.local = address_of("[2001:db8::1]:465");
    strcpy(order.login, "alice@b.test");
    strcpy(order.mechanism, "PLAIN");
    strcpy(order.helo, "laptop");
    return order;
}

static void assert_same(const struct opener_order *a, const struct opener_order *b)
{
    assert_true(a->id == b->id);
    assert_int_equal(a->backend, b->backend);
    assert_int_equal(a->esmtp, b->esmtp);
    assert_int_equal(a->probe, b->probe);
    assert_string_equal(a->tls, b->tls);
    assert_true(address_equal(&a->client, &b->client));
    assert_true(address_equal(&a->local, &b->local));
    assert_string_equal(a->login, b->login);
    assert_string_equal(a->mechanism, b->mechanism);
    assert_string_equal(a->helo, b->helo);
    assert_string_equal(a->host, b->host);
}

static void fill(char *field, size_t size)
{
    memset(field, 'x', size - 1);
    field[size - 1] = '\0';
}

static void test_order_arrives_as_it_was(void **state)
{
    struct opener_order order = make_order(), got;
    char bytes[OPENER_MESSAGE_LIMIT];
    (void)state;

    size_t length = opener_message_write_order(&order, bytes);
    assert_true(length > 0 && opener_message_read_order(bytes, length, &got));
    assert_same(&order, &got);

    fill(order.login, sizeof order.login);
    fill(order.mechanism, sizeof order.mechanism);
    fill(order.helo, sizeof order.helo);
    fill(order.host, sizeof order.host);
    fill(order.tls, sizeof order.tls);
    order.esmtp = order.probe = true;
    length = opener_message_write_order(&order, bytes);
    assert_in_range(length, 1, OPENER_MESSAGE_LIMIT);
    assert_true(opener_message_read_order(bytes, length, &got));
    assert_same(&order, &got);
}

static void test_order_without_values_is_one(void **state)
{
    struct opener_order order = {.id = 1}, got;
    char bytes[OPENER_MESSAGE_LIMIT];
    (void)state;
    size_t length = opener_message_write_order(&order, bytes);
    assert_true(length > 0 && opener_message_read_order(bytes, length, &got));
    assert_same(&order, &got);
    assert_int_equal(got.client.length, 0);

    order.client = address_of("unix:/run/socket");
    length = opener_message_write_order(&order, bytes);
    assert_true(length > 0 && opener_message_read_order(bytes, length, &got));
    assert_int_equal(got.client.length, 0);
}

static void test_answer_arrives_as_it_was(void **state)
{
    (void)state;
    for (int error = 0; error <= OPENER_ERROR_LIMIT; error++) {
        struct opener_answer answer = {.id = UINT64_MAX, .error = error}, got;
        char bytes[OPENER_MESSAGE_LIMIT];
        size_t length = opener_message_write_answer(&answer, bytes);
        assert_true(length > 0 && opener_message_read_answer(bytes, length, &got));
        assert_true(got.id == answer.id && got.error == answer.error);
    }
}

static void test_no_part_of_a_message_is_taken_for_one(void **state)
{
    struct opener_order order = make_order(), got, blank;
    struct opener_answer answer = {.id = 7, .error = 13};
    char bytes[OPENER_MESSAGE_LIMIT] = {0};
    (void)state;
    memset(&blank, 0, sizeof blank);

    size_t length = opener_message_write_order(&order, bytes);
    for (size_t cut = 0; cut < length; cut++) {
        assert_false(opener_message_read_order(bytes, cut, &got));
        assert_memory_equal(&got, &blank, sizeof got);
    }
    assert_false(opener_message_read_order(bytes, length + 1, &got));
    assert_false(opener_message_read_answer(bytes, length, &answer));

    length = opener_message_write_answer(&answer, bytes);
    for (size_t cut = 0; cut < length; cut++)
        assert_false(opener_message_read_answer(bytes, cut, &answer));
    assert_false(opener_message_read_answer(bytes, length + 1, &answer));
    assert_false(opener_message_read_order(bytes, length, &got));
}

/* Of another version or protocol nothing is believed. */
static void test_only_its_own_header_is_believed(void **state)
{
    struct opener_order order = make_order();
    char bytes[OPENER_MESSAGE_LIMIT];
    (void)state;
    size_t length = opener_message_write_order(&order, bytes);
    for (size_t i = 0; i < 4; i++) {
        bytes[i] ^= 0x40;
        assert_false(opener_message_read_order(bytes, length, &order));
        bytes[i] ^= 0x40;
    }
    assert_true(opener_message_read_order(bytes, length, &order));
}

/* An order's bytes with one of them changed. */
static bool order_with_byte(size_t at, int byte)
{
    struct opener_order order = make_order();
    char bytes[OPENER_MESSAGE_LIMIT];
    size_t length = opener_message_write_order(&order, bytes);
    bytes[at] = (char)byte;
    return opener_message_read_order(bytes, length, &order);
}

static void test_order_that_no_writer_writes_is_refused(void **state)
{
    enum { FLAGS = 14, KIND = 15, PORT = 16, V4_TAIL = 22, LOGIN = 54 };
    (void)state;
    assert_true(order_with_byte(LOGIN, 'b'));
    assert_false(order_with_byte(FLAGS, 4));
    assert_false(order_with_byte(FLAGS, 0x80));
    assert_false(order_with_byte(KIND, 0));
    assert_false(order_with_byte(KIND, 5));
    assert_true(order_with_byte(KIND, 6));
    assert_false(order_with_byte(V4_TAIL, 1));
    for (int byte = 0; byte < ' '; byte++)
        assert_false(order_with_byte(LOGIN, byte));
    assert_false(order_with_byte(LOGIN, 0x7f));
    assert_true(order_with_byte(LOGIN, 0xc3));
}

static void test_writer_refuses_what_no_reader_takes(void **state)
{
    struct opener_order order = make_order();
    char bytes[OPENER_MESSAGE_LIMIT];
    (void)state;

    order.helo[2] = '\n';
    assert_int_equal(opener_message_write_order(&order, bytes), 0);
    order = make_order();
    memset(order.login, 'x', sizeof order.login);
    assert_int_equal(opener_message_write_order(&order, bytes), 0);

    struct opener_answer answer = {.error = -1};
    assert_int_equal(opener_message_write_answer(&answer, bytes), 0);
    answer.error = OPENER_ERROR_LIMIT + 1;
    assert_int_equal(opener_message_write_answer(&answer, bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_arrives_as_it_was),
        cmocka_unit_test(test_order_without_values_is_one),
        cmocka_unit_test(test_answer_arrives_as_it_was),
        cmocka_unit_test(test_no_part_of_a_message_is_taken_for_one),
        cmocka_unit_test(test_only_its_own_header_is_believed),
        cmocka_unit_test(test_order_that_no_writer_writes_is_refused),
        cmocka_unit_test(test_writer_refuses_what_no_reader_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
