/* What reactors ask each other: no text without its end, and no other shape, gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/admin/message.h"
#include "proxy/session.h"

static struct admin_question good_question(void)
{
    struct admin_question question = {.version = ADMIN_MESSAGE_VERSION,
                                      .type = ADMIN_END_SESSIONS,
                                      .limit = ADMIN_SESSIONS_LIMIT};
    admin_message_put(question.user, sizeof question.user, "alice");
    admin_message_put(question.network, sizeof question.network, "2001:db8::/32");
    return question;
}

static void test_a_good_question_is_taken(void **state)
{
    struct admin_question question = good_question();
    (void)state;
    assert_true(admin_question_valid(&question, sizeof question));
    memset(question.network, 0, sizeof question.network);
    assert_true(admin_question_valid(&question, sizeof question));
}

static void test_a_question_that_is_none_is_refused(void **state)
{
    struct admin_question question = good_question();
    (void)state;
    assert_false(admin_question_valid(&question, sizeof question - 1));
    question.version++;
    assert_false(admin_question_valid(&question, sizeof question));
    question = good_question();
    question.type = ADMIN_QUESTION_TYPES;
    assert_false(admin_question_valid(&question, sizeof question));
    question = good_question();
    question.limit++;
    assert_false(admin_question_valid(&question, sizeof question));
    question = good_question();
    memset(question.user, 'x', sizeof question.user);
    assert_false(admin_question_valid(&question, sizeof question));
    question = good_question();
    memset(question.id, 'x', sizeof question.id);
    assert_false(admin_question_valid(&question, sizeof question));
    question = good_question();
    strcpy(question.network, "everywhere");
    assert_false(admin_question_valid(&question, sizeof question));
}

static void test_an_answer_has_its_size_and_version(void **state)
{
    struct admin_answer answer = {.version = ADMIN_MESSAGE_VERSION};
    (void)state;
    assert_true(admin_answer_valid(&answer, sizeof answer));
    assert_false(admin_answer_valid(&answer, 1));
    answer.version = 0;
    assert_false(admin_answer_valid(&answer, sizeof answer));
}

static void test_every_text_of_a_session_has_its_end(void **state)
{
    struct admin_session session = {0};
    struct {
        char *text;
        size_t size;
    } texts[] = {
        {session.id, sizeof session.id},
        {session.client, sizeof session.client},
        {session.listener, sizeof session.listener},
        {session.user, sizeof session.user},
        {session.mechanism, sizeof session.mechanism},
        {session.helo, sizeof session.helo},
        {session.tls, sizeof session.tls},
        {session.cipher, sizeof session.cipher},
        {session.backend, sizeof session.backend},
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        memset(texts[i].text, 'x', texts[i].size);
        assert_false(admin_session_valid(&session));
        texts[i].text[texts[i].size - 1] = '\0';
        assert_true(admin_session_valid(&session));
    }
    session.state = SESSION_STATES;
    assert_false(admin_session_valid(&session));
}

static void test_a_long_text_is_cut(void **state)
{
    char out[4] = "zzz";
    (void)state;
    admin_message_put(out, sizeof out, "abcdef");
    assert_memory_equal(out, "abc", 4);
    admin_message_put(out, sizeof out, NULL);
    assert_memory_equal(out, "\0\0\0", 4);
}

static struct admin_event good_event(void)
{
    struct admin_event event = {.version = ADMIN_MESSAGE_VERSION};
    strcpy(event.name, "message");
    strcpy(event.line, "{\"event\":\"message\"}");
    event.length = (uint32_t)strlen(event.line);
    return event;
}

static bool is_taken(const struct admin_event *event)
{
    return admin_event_valid(event, ADMIN_EVENT_HEAD + event->length);
}

/* Threat 22: a reader gets the line as it came from another reactor. */
static void test_event_that_is_no_line_is_refused(void **state)
{
    struct admin_event event = good_event();
    (void)state;
    assert_true(is_taken(&event));
    assert_false(admin_event_valid(&event, ADMIN_EVENT_HEAD + event.length + 1));
    assert_false(admin_event_valid(&event, ADMIN_EVENT_HEAD - 1));
    event.line[3] = '\n';
    assert_false(is_taken(&event));
    event = good_event();
    event.length--;
    assert_false(is_taken(&event));
    event = good_event();
    event.length = 0;
    assert_false(is_taken(&event));
    event = good_event();
    memset(event.user, 'x', sizeof event.user);
    assert_false(is_taken(&event));
    event = good_event();
    memset(event.client, 'x', sizeof event.client);
    assert_false(is_taken(&event));
    event = good_event();
    memset(event.name, 'x', sizeof event.name);
    assert_false(is_taken(&event));
    event = good_event();
    event.version++;
    assert_false(is_taken(&event));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_question_is_taken),
        cmocka_unit_test(test_a_question_that_is_none_is_refused),
        cmocka_unit_test(test_an_answer_has_its_size_and_version),
        cmocka_unit_test(test_every_text_of_a_session_has_its_end),
        cmocka_unit_test(test_a_long_text_is_cut),
        cmocka_unit_test(test_event_that_is_no_line_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
