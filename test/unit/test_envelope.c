/* What the log says of an envelope: replies come in the order of the commands, and a text is
 * never taken for another's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/envelope.h"

static void ask(struct envelope *envelope, const char *address)
{
    envelope_ask(envelope, address, strlen(address), true);
}

static void expect(const struct envelope *envelope, const char *sender, const char *recipients,
                   unsigned accepted, unsigned refused)
{
    char text[ENVELOPE_TEXT_SIZE];
    if (sender)
        assert_string_equal(envelope_sender(envelope), sender);
    else
        assert_null(envelope_sender(envelope));
    assert_int_equal(envelope_recipients(envelope, text), recipients != NULL);
    if (recipients)
        assert_string_equal(text, recipients);
    assert_int_equal(envelope->accepted, accepted);
    assert_int_equal(envelope->refused, refused);
}

static void test_one_flight_of_two_transactions_is_told_apart(void **state)
{
    (void)state;
    struct envelope envelope = {0};
    ask(&envelope, "one@a");
    ask(&envelope, "x@a");
    ask(&envelope, "two@b");
    ask(&envelope, "y@b");
    ask(&envelope, "z@b");
    envelope_begin(&envelope, 10);
    envelope_accept(&envelope);
    expect(&envelope, "one@a", "x@a", 1, 0);
    envelope_forget(&envelope);
    envelope_begin(&envelope, 10);
    envelope_refuse(&envelope);
    expect(&envelope, "two@b", "y@b", 0, 1);
    envelope_accept(&envelope);
    expect(&envelope, "two@b", "z@b", 1, 1);
    envelope_forget(&envelope);
    assert_null(envelope.memory);
}

static void test_own_refusals_wait_for_their_turn(void **state)
{
    (void)state;
    struct envelope envelope = {0};
    ask(&envelope, "one@a");
    envelope_refuse_here(&envelope, "no@a", 4, REPLY_NOT_OURS);
    ask(&envelope, "yes@a");
    envelope_refuse_here(&envelope, "nor@a", 5, REPLY_NOT_OURS);
    envelope_begin(&envelope, 10);
    expect(&envelope, "one@a", "no@a", 0, 1);
    assert_memory_equal(envelope_reply(&envelope), "550 ", 4);
    assert_null(strpbrk(envelope_reply(&envelope), "\r\n"));
    envelope_accept(&envelope);
    expect(&envelope, "one@a", "yes@a", 1, 2);
    envelope_free(&envelope);
}

/* Beyond the room addresses are counted, and those that follow have theirs again. */
static void test_what_has_no_room_is_counted(void **state)
{
    (void)state;
    struct envelope envelope = {0};
    char long_one[2000];
    memset(long_one, 'x', sizeof long_one);
    ask(&envelope, "");
    for (int i = 0; i < 100; i++)
        envelope_ask(&envelope, long_one, sizeof long_one, true);
    envelope_begin(&envelope, 100);
    for (int i = 0; i < 100; i++)
        envelope_accept(&envelope);
    assert_string_equal(envelope_sender(&envelope), "");
    assert_int_equal(envelope.accepted, 100);
    char text[ENVELOPE_TEXT_SIZE];
    assert_true(envelope_recipients(&envelope, text));
    assert_int_equal(strlen(text), 2 * (ENVELOPE_ADDRESS_LIMIT + 3) + 1);
    assert_string_equal(text + strlen(text) - 4, "x...");
    envelope_forget(&envelope);
    ask(&envelope, "next@a");
    envelope_begin(&envelope, 0);
    ask(&envelope, "unnamed@a");
    envelope_accept(&envelope);
    expect(&envelope, "next@a", NULL, 1, 0);
    envelope_free(&envelope);
}

/* As when the log's level changes in the middle of a transaction. */
static void test_recipient_is_never_told_as_the_sender(void **state)
{
    (void)state;
    struct envelope envelope = {0};
    envelope_ask(&envelope, "secret@a", 8, false);
    envelope_begin(&envelope, 10);
    ask(&envelope, "x@a");
    envelope_accept(&envelope);
    expect(&envelope, NULL, NULL, 1, 0);
    envelope_free(&envelope);
}

static void test_what_means_nothing_is_passed_over(void **state)
{
    (void)state;
    struct envelope envelope = {0};
    ask(&envelope, "x@a"); /* RCPT without MAIL */
    ask(&envelope, "one@a");
    ask(&envelope, "nested@a");
    ask(&envelope, "y@a");
    envelope_skip(&envelope);
    envelope_begin(&envelope, 10);
    envelope_skip(&envelope);
    envelope_accept(&envelope);
    expect(&envelope, "one@a", "y@a", 1, 0);
    envelope_free(&envelope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_flight_of_two_transactions_is_told_apart),
        cmocka_unit_test(test_own_refusals_wait_for_their_turn),
        cmocka_unit_test(test_what_has_no_room_is_counted),
        cmocka_unit_test(test_recipient_is_never_told_as_the_sender),
        cmocka_unit_test(test_what_means_nothing_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
