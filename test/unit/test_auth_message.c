/* Threat 22: what reactor and worker say to each other, whole, broken and made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/message.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static struct auth_message_request make_request(void)
{
    struct auth_message_request request = {.id = 0x0123456789abcdef};
    strcpy(request.user, "alice@b.test");
    strcpy(request.password, "s\x01 cret\xff\n");
    strcpy(request.client_host, "2001:db8::9");
    return request;
}

static struct auth_message_verdict make_verdict(enum auth_result result)
{
    struct auth_message_verdict verdict = {.id = 7, .result = result, .delay_ms = 1500};
    strcpy(verdict.login, result == AUTH_ACCEPTED ? "alice" : "");
    strcpy(verdict.reason, "pam_authenticate: whatever");
    return verdict;
}

static void fill(char *field, size_t size)
{
    memset(field, 'x', size - 1);
    field[size - 1] = '\0';
}

static void test_request_arrives_as_it_was(void **state)
{
    struct auth_message_request request = make_request(), got;
    char bytes[AUTH_MESSAGE_LIMIT];
    (void)state;

    size_t length = auth_message_write_request(&request, bytes);
    assert_true(length > 0);
    assert_true(auth_message_read_request(bytes, length, &got));
    assert_memory_equal(&got, &request, sizeof got);

    fill(request.user, sizeof request.user);
    fill(request.password, sizeof request.password);
    fill(request.client_host, sizeof request.client_host);
    length = auth_message_write_request(&request, bytes);
    assert_in_range(length, 1, AUTH_MESSAGE_LIMIT);
    assert_true(auth_message_read_request(bytes, length, &got));
    assert_memory_equal(&got, &request, sizeof got);
}

static void test_verdict_arrives_as_it_was(void **state)
{
    (void)state;
    for (int result = 0; result < AUTH_RESULT_COUNT; result++) {
        struct auth_message_verdict verdict = make_verdict((enum auth_result)result), got;
        char bytes[AUTH_MESSAGE_LIMIT];
        size_t length = auth_message_write_verdict(&verdict, bytes);
        assert_true(length > 0);
        assert_true(auth_message_read_verdict(bytes, length, &got));
        assert_memory_equal(&got, &verdict, sizeof got);

        verdict.is_last = true;
        length = auth_message_write_verdict(&verdict, bytes);
        assert_true(auth_message_read_verdict(bytes, length, &got));
        assert_true(got.is_last);
        fill(verdict.reason, sizeof verdict.reason);
        if (result == AUTH_ACCEPTED)
            fill(verdict.login, sizeof verdict.login);
        length = auth_message_write_verdict(&verdict, bytes);
        assert_in_range(length, 1, AUTH_MESSAGE_LIMIT);
        assert_true(auth_message_read_verdict(bytes, length, &got));
        assert_memory_equal(&got, &verdict, sizeof got);
    }
}

static void test_no_part_of_a_request_is_taken_for_one(void **state)
{
    struct auth_message_request request = make_request(), got, blank;
    char bytes[AUTH_MESSAGE_LIMIT + 1] = {0};
    (void)state;
    memset(&blank, 0, sizeof blank);

    size_t length = auth_message_write_request(&request, bytes);
    for (size_t cut = 0; cut < length; cut++) {
        assert_false(auth_message_read_request(bytes, cut, &got));
        assert_memory_equal(&got, &blank, sizeof got);
    }
    assert_false(auth_message_read_request(bytes, length + 1, &got));
    assert_memory_equal(&got, &blank, sizeof got);
}

static void test_no_part_of_a_verdict_is_taken_for_one(void **state)
{
    struct auth_message_verdict verdict = make_verdict(AUTH_ACCEPTED), got, blank;
    char bytes[AUTH_MESSAGE_LIMIT + 1] = {0};
    (void)state;
    memset(&blank, 0, sizeof blank);

    size_t length = auth_message_write_verdict(&verdict, bytes);
    for (size_t cut = 0; cut < length; cut++) {
        assert_false(auth_message_read_verdict(bytes, cut, &got));
        assert_memory_equal(&got, &blank, sizeof got);
    }
    assert_false(auth_message_read_verdict(bytes, length + 1, &got));
}

/* Of a message of the other kind, a later version or another protocol nothing is believed. */
static void test_only_its_own_header_is_believed(void **state)
{
    struct auth_message_request request = make_request();
    struct auth_message_verdict verdict = make_verdict(AUTH_ACCEPTED);
    char bytes[AUTH_MESSAGE_LIMIT];
    (void)state;

    size_t length = auth_message_write_request(&request, bytes);
    assert_false(auth_message_read_verdict(bytes, length, &verdict));
    for (size_t i = 0; i < 4; i++) {
        bytes[i] ^= 0x40;
        assert_false(auth_message_read_request(bytes, length, &request));
        bytes[i] ^= 0x40;
    }
    assert_true(auth_message_read_request(bytes, length, &request));
    char type = bytes[3];
    verdict = make_verdict(AUTH_ACCEPTED);
    length = auth_message_write_verdict(&verdict, bytes);
    assert_false(auth_message_read_request(bytes, length, &request));
    bytes[3] = type;
    assert_false(auth_message_read_verdict(bytes, length, &verdict));
}

/* A verdict's bytes with one of them changed. */
static bool verdict_with_byte(enum auth_result result, size_t at, int byte)
{
    struct auth_message_verdict verdict = make_verdict(result);
    char bytes[AUTH_MESSAGE_LIMIT];
    size_t length = auth_message_write_verdict(&verdict, bytes);
    bytes[at] = (char)byte;
    return auth_message_read_verdict(bytes, length, &verdict);
}

static void test_verdict_that_contradicts_itself_is_refused(void **state)
{
    enum { RESULT = 12, LAST = 13, DELAY_HIGH = 17, LOGIN = 20 };
    (void)state;
    assert_true(verdict_with_byte(AUTH_REJECTED, RESULT, AUTH_UNAVAILABLE));
    assert_false(verdict_with_byte(AUTH_REJECTED, RESULT, AUTH_ACCEPTED));
    assert_false(verdict_with_byte(AUTH_ACCEPTED, RESULT, AUTH_REJECTED));
    assert_false(verdict_with_byte(AUTH_REJECTED, RESULT, AUTH_RESULT_COUNT));
    assert_false(verdict_with_byte(AUTH_REJECTED, RESULT, 0xff));
    assert_true(verdict_with_byte(AUTH_REJECTED, LAST, 1));
    assert_false(verdict_with_byte(AUTH_REJECTED, LAST, 2));
    assert_false(verdict_with_byte(AUTH_REJECTED, DELAY_HIGH, 0x7f));
    assert_true(verdict_with_byte(AUTH_ACCEPTED, LOGIN, 'b'));
    for (int byte = 0; byte < ' '; byte++)
        assert_false(verdict_with_byte(AUTH_ACCEPTED, LOGIN, byte));
    assert_false(verdict_with_byte(AUTH_ACCEPTED, LOGIN, 0x7f));
}

static void test_writer_refuses_what_no_reader_takes(void **state)
{
    struct auth_message_request request = make_request();
    char bytes[AUTH_MESSAGE_LIMIT];
    (void)state;

    request.user[0] = '\0';
    assert_int_equal(auth_message_write_request(&request, bytes), 0);
    request = make_request();
    request.password[0] = '\0';
    assert_int_equal(auth_message_write_request(&request, bytes), 0);
    request = make_request();
    request.client_host[2] = '\n';
    assert_int_equal(auth_message_write_request(&request, bytes), 0);
    request = make_request();
    memset(request.user, 'x', sizeof request.user);
    assert_int_equal(auth_message_write_request(&request, bytes), 0);

    struct auth_message_verdict verdict = make_verdict(AUTH_ACCEPTED);
    verdict.login[0] = '\0';
    assert_int_equal(auth_message_write_verdict(&verdict, bytes), 0);
    verdict = make_verdict(AUTH_REJECTED);
    strcpy(verdict.login, "alice");
    assert_int_equal(auth_message_write_verdict(&verdict, bytes), 0);
    verdict = make_verdict(AUTH_REJECTED);
    verdict.delay_ms = AUTH_DELAY_LIMIT_MS + 1;
    assert_int_equal(auth_message_write_verdict(&verdict, bytes), 0);
    verdict = make_verdict(AUTH_REJECTED);
    strcpy(verdict.reason, "two\nlines");
    assert_int_equal(auth_message_write_verdict(&verdict, bytes), 0);
}

static void test_refused_request_leaves_no_password(void **state)
{
    struct auth_message_request request = make_request();
    char bytes[AUTH_MESSAGE_LIMIT], blank[AUTH_MESSAGE_LIMIT] = {0};
    (void)state;

    request.client_host[0] = '\0';
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(auth_message_write_request(&request, bytes), 0);
    assert_memory_equal(bytes, blank, sizeof bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_arrives_as_it_was),
        cmocka_unit_test(test_verdict_arrives_as_it_was),
        cmocka_unit_test(test_no_part_of_a_request_is_taken_for_one),
        cmocka_unit_test(test_no_part_of_a_verdict_is_taken_for_one),
        cmocka_unit_test(test_only_its_own_header_is_believed),
        cmocka_unit_test(test_verdict_that_contradicts_itself_is_refused),
        cmocka_unit_test(test_writer_refuses_what_no_reader_takes),
        cmocka_unit_test(test_refused_request_leaves_no_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
