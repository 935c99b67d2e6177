/* MAIL's arguments without AUTH=: what real clients send passes, and no backend, however it
 * reads, finds an identity that a client wrote (threat 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lenient_mail.h"
#include "proxy/smtp/command.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* In and out are allocations of their own size: bytes too many are seen by the sanitizer. */
static enum smtp_mail_status strip(const char *in, size_t length, char **out,
                                   size_t *out_length)
{
    char *exact = malloc(length ? length : 1);
    *out = malloc(length ? length : 1);
    assert_non_null(exact);
    assert_non_null(*out);
    memcpy(exact, in, length);
    enum smtp_mail_status status = smtp_mail_strip_auth(exact, length, *out, out_length);
    free(exact);
    assert_true(*out_length <= length);
    if (status != SMTP_MAIL_OK)
        assert_int_equal(*out_length, 0);
    return status;
}

static void check(const char *in, size_t length, const char *expected)
{
    char *out;
    size_t out_length;
    enum smtp_mail_status status = strip(in, length, &out, &out_length);
    if (status != (expected ? SMTP_MAIL_OK : SMTP_MAIL_SYNTAX))
        fail_msg("%s: status %d", in, (int)status);
    if (expected && (out_length != strlen(expected) || memcmp(out, expected, out_length) != 0))
        fail_msg("%s: became %.*s", in, (int)out_length, out);
    const char *reader = lenient_auth_reader(out, out_length);
    if (reader)
        fail_msg("%s: AUTH is found by a reader that %s", in, reader);
    free(out);
}

static void test_ordinary_addresses_pass_byte_for_byte(void **state)
{
    static const char *const lines[] = {
        "FROM:<>",
        "FROM:<alice@example.org>",
        "from:<alice@example.org>",
        "FROM:<alice>",
        "FROM:<alice@[192.0.2.1]>",
        "FROM:<alice@[IPv6:2001:db8::1]>",
        "FROM:<@a.example,@b.example:alice@c.example>",
        "FROM:<\"alice smith\"@example.org>",
        "FROM:<\"a\\\"b\\\\c@d\"@example.org>",
        "FROM:<\"\"@example.org>",
        "FROM:<bounce+auth=x.test@example.org>",
        "FROM:<AUTH=alice@example.org>",
        "FROM:<auth@example.org>",
        "FROM:<j\xc3\xb6rg@example.org> SMTPUTF8",
        "FROM:alice@example.org",
        "FROM:alice@example.org SIZE=1000",
        "FROM:<a@b> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=QQ314159",
        "FROM:<a@b> SIZE=1000 X-AUTH=1 XAUTH=2 AUTHX=3",
        "FROM:<a@b> ENVID=AUTH",
        "FROM:<a@b> MT-PRIORITY=3 BY=120;R SMTPUTF8",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++)
        check(lines[i], strlen(lines[i]), lines[i]);
}

static const struct {
    const char *in, *out;
} spaced[] = {
    {"FROM: <a@b>", "FROM:<a@b>"},
    {"FROM:   a@b", "FROM:a@b"},
    {"FROM:< a@b>", "FROM:<a@b>"},
    {"FROM:<a@b >", "FROM:<a@b>"},
    {"from:  <  a@b   >", "from:<a@b>"},
    {"FROM:< >", "FROM:<>"},
    {"FROM:<    >", "FROM:<>"},
    {"FROM:< \"a b \"@c >", "FROM:<\"a b \"@c>"},
    {"FROM:<a@b>  SIZE=1000", "FROM:<a@b> SIZE=1000"},
    {"FROM:<a@b >   SIZE=1    BODY=7BIT  ", "FROM:<a@b> SIZE=1 BODY=7BIT"},
};

/* No two servers see another path, or other parameters, as there is one way to write them. */
static void test_spaces_where_none_belong_are_taken_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(spaced); i++)
        check(spaced[i].in, strlen(spaced[i].in), spaced[i].out);
    check("FROM:<a@b >  AUTH=x  SIZE=1", 27, "FROM:<a@b> SIZE=1");
}

static void check_canonical(const char *word, const char *in, const char *expected)
{
    char arguments[128], out[128];
    snprintf(arguments, sizeof arguments, "%s%s", word, in);
    size_t length = smtp_envelope_canonical(arguments, strlen(arguments), word, out);
    if (!expected) {
        assert_int_equal(length, 0);
        return;
    }
    assert_int_equal(length, strlen(word) + strlen(expected));
    assert_memory_equal(out, word, strlen(word));
    assert_memory_equal(out + strlen(word), expected, strlen(expected));
}

static void test_recipients_have_the_form_of_senders(void **state)
{
    static const char *const others[] = {"",        "<a b@c>",       "<a@b",
                                         "<a@b>x",  "<a@b>\tX",      "<a@b\t>",
                                         "<a\\@b>", "<\"a > b\"@c>", "< a b >"};
    (void)state;
    for (size_t i = 0; i < COUNT(spaced); i++)
        check_canonical("TO:", spaced[i].in + 5, spaced[i].out + 5);
    check_canonical("TO:", "<a@b>  NOTIFY=NEVER   X", "<a@b> NOTIFY=NEVER X");
    check_canonical("TO:", "<a@b> AUTH=x", "<a@b> AUTH=x");
    for (size_t i = 0; i < COUNT(others); i++)
        check_canonical("TO:", others[i], NULL);
    check_canonical("FROM:", " <a@b>", "<a@b>");
}

static void test_auth_parameter_is_taken_out(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"FROM:<> AUTH=<>", "FROM:<>"},
        {"FROM:<a@b> AUTH=bob@example.org", "FROM:<a@b>"},
        {"FROM:<a@b> auth=bob", "FROM:<a@b>"},
        {"FROM:<a@b> AuTh=bob", "FROM:<a@b>"},
        {"FROM:<a@b> AUTH", "FROM:<a@b>"},
        {"FROM:<a@b> AUTH=", "FROM:<a@b>"},
        {"FROM:<a@b> AUTH=a=b", "FROM:<a@b>"},
        {"FROM:<a@b>   AUTH=bob  ", "FROM:<a@b>"},
        {"FROM:<a@b> SIZE=1 AUTH=bob BODY=7BIT", "FROM:<a@b> SIZE=1 BODY=7BIT"},
        {"FROM:<a@b> AUTH=bob SIZE=1", "FROM:<a@b> SIZE=1"},
        {"FROM:<a@b> AUTH=x AUTH=y SIZE=1 AUTH=z", "FROM:<a@b> SIZE=1"},
        {"FROM:a@b AUTH=bob", "FROM:a@b"},
        {"FROM:<\"a b\"@c> AUTH=bob", "FROM:<\"a b\"@c>"},
        {"FROM:<a@b> X=\"1 AUTH=bob", "FROM:<a@b> X=\"1"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        check(cases[i].in, strlen(cases[i].in), cases[i].out);
}

static void test_what_can_be_read_in_two_ways_is_refused(void **state)
{
    static const char *const lines[] = {
        "FROM:<\"a AUTH=bob\"@b>",     "FROM:<\"a auth=bob \"@b>",
        "FROM:<\"a\\ AUTH=bob\"@b>",   "FROM:<\"a\\\" AUTH=bob\"@b>",
        "FROM:<\"a> AUTH=bob\"@b>",    "FROM:<\"a\\> AUTH=bob\"@b>",
        "FROM:<\"a>AUTH=bob\"@b>",     "FROM:<\"<a> b\"@c>",
        "FROM:<a AUTH=bob>",           "FROM:<a b>",
        "FROM:<a\\> AUTH=bob>",        "FROM:<<a@b> AUTH=bob>",
        "FROM:<a@b>AUTH=bob",          "FROM:<a@b>SIZE=1",
        "FROM:<a@b>\tAUTH=bob",        "FROM:<a@b> SIZE=1\tAUTH=bob",
        "FROM:<a@b> SIZE=1\vAUTH=bob", "FROM:<a@b> SIZE=1\fAUTH=bob",
        "FROM:<\"a\tAUTH=bob\"@b>",    "FROM:\t<a@b>",
        "FROM:<a@b> SIZE=1\rAUTH=bob", "FROM:<a@b> X=>AUTH=bob",
        "FROM:<a@b> X=\"AUTH=bob\"",   "FROM:<a@b> x>AUTH=bob",
        "FROM:<a@b> A\"UTH\"=bob",     "FROM:<a@b> =AUTH=bob",
        "FROM:<a@b> (AUTH=bob)",       "FROM: AUTH=bob",
        "FROM:  auth=bob SIZE=1",      "FROM:a@b\\ AUTH=bob",
        "FROM:\"a AUTH=bob\"@b",       "FROM:a>AUTH=bob",
        "FROM:a<b> AUTH=bob",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++)
        check(lines[i], strlen(lines[i]), NULL);
    check("FROM:<a@b> SIZE=1\0AUTH=bob", sizeof "FROM:<a@b> SIZE=1\0AUTH=bob" - 1, NULL);
    check("FROM:<a\0>", sizeof "FROM:<a\0>" - 1, NULL);
    for (int byte = 0; byte < 256; byte++) {
        char line[] = "FROM:<a@b> X=.y";
        bool control = byte < ' ' || byte == 0x7f;
        line[sizeof line - 3] = (char)byte;
        if (byte != '>' && byte != '"' && byte != '\\')
            check(line, sizeof line - 1, control ? NULL : line);
    }
    for (int byte = '!'; byte < 0x7f; byte++) {
        char line[] = "FROM:<a@b> X=.AUTH=bob"; /* of a keyword such as XAUTH? */
        bool word = isalnum(byte) || byte == '-';
        line[sizeof "FROM:<a@b> X=" - 1] = (char)byte;
        check(line, sizeof line - 1, word ? line : NULL);
    }
    check("FROM:a\0 AUTH=bob", sizeof "FROM:a\0 AUTH=bob" - 1, NULL);
}

static void test_what_is_no_path_is_refused(void **state)
{
    static const char *const lines[] = {
        "",          "F",           "FROM",        "FROM:",  "FROM: ",    "FROM <a@b>",
        "TO:<a@b>",  " FROM:<a@b>", "FROM :<a@b>", "FROM:<", "FROM:<a@b", "FROM:<a@b\\",
        "FROM:<\"a", "FROM:<\"a\\", "FROM:<\"a\"", "FROM:>", "FROM:a@b>", "<a@b>",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++)
        check(lines[i], strlen(lines[i]), NULL);
}

/* Of pieces that mean something to one reader or another, every line of up to six. */
static void test_no_reader_finds_auth_in_any_mixture(void **state)
{
    static const char *const pieces[] = {" ", ">", "<", "\"", "\\", "AUTH=x", "a", "=", "\t"};
    unsigned long total = 1, passed = 0;
    (void)state;
    for (unsigned count = 1; count <= 6; count++) {
        total *= COUNT(pieces);
        for (unsigned long number = 0; number < 2 * total; number++) {
            char line[64];
            unsigned long left = number / 2;
            strcpy(line, number % 2 ? "FROM:" : "FROM:<");
            for (unsigned i = 0; i < count; i++, left /= COUNT(pieces))
                strcat(line, pieces[left % COUNT(pieces)]);
            char *out;
            size_t out_length;
            passed += strip(line, strlen(line), &out, &out_length) == SMTP_MAIL_OK;
            const char *reader = lenient_auth_reader(out, out_length);
            if (reader)
                fail_msg("%s: AUTH is found by a reader that %s", line, reader);
            free(out);
        }
    }
    assert_true(passed > 100);
}

/* In an allocation of the size that is promised. */
static enum smtp_mail_status set_auth(const char *in, size_t length, const char *login,
                                      char **out, size_t *out_length)
{
    *out = malloc(SMTP_MAIL_ARGUMENTS_LIMIT);
    assert_non_null(*out);
    enum smtp_mail_status status = smtp_mail_set_auth(in, length, login, *out, out_length);
    if (status != SMTP_MAIL_OK)
        assert_int_equal(*out_length, 0);
    return status;
}

/* Threat 5: what the backend reads is the login, whatever the client wrote. */
static void test_login_takes_the_place_of_what_a_client_wrote(void **state)
{
    static const struct {
        const char *in, *login, *out;
    } cases[] = {
        {"FROM:<a@b>", "alice", "FROM:<a@b> AUTH=alice"},
        {"FROM:<>", "alice@example.org", "FROM:<> AUTH=alice@example.org"},
        {"FROM:<a@b> AUTH=<>", "alice", "FROM:<a@b> AUTH=alice"},
        {"FROM:<a@b> SIZE=1 AUTH=root BODY=8BITMIME", "alice",
         "FROM:<a@b> SIZE=1 BODY=8BITMIME AUTH=alice"},
        {"FROM:a@b auth=root auth=root", "alice", "FROM:a@b AUTH=alice"},
        {"FROM:<a@b>", "al ice+x=y", "FROM:<a@b> AUTH=al+20ice+2Bx+3Dy"},
        {"FROM:<a@b>", "x\r\nRCPT TO:<c@d>", "FROM:<a@b> AUTH=x+0D+0ARCPT+20TO:+3Cc@d+3E"},
        {"FROM:<a@b>", "j\xc3\xb6rg", "FROM:<a@b> AUTH=j+C3+B6rg"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *out;
        size_t length;
        assert_int_equal(
            set_auth(cases[i].in, strlen(cases[i].in), cases[i].login, &out, &length),
            SMTP_MAIL_OK);
        assert_int_equal(length, strlen(cases[i].out));
        assert_memory_equal(out, cases[i].out, length);
        free(out);
    }
}

static void test_who_is_called_nobody_is_not_told(void **state)
{
    char *out;
    size_t length;
    (void)state;
    assert_int_equal(set_auth("FROM:<a@b>", 10, "<>", &out, &length), SMTP_MAIL_LOGIN);
    free(out);
    assert_int_equal(set_auth("FROM:<a@b>", 10, "", &out, &length), SMTP_MAIL_LOGIN);
    free(out);
    assert_int_equal(set_auth("TO:<a@b>", 8, "alice", &out, &length), SMTP_MAIL_SYNTAX);
    free(out);
}

/* At every length about the longest command. */
static void test_login_that_has_no_room_is_not_cut(void **state)
{
    char in[SMTP_COMMAND_LIMIT + 20];
    const size_t room = SMTP_MAIL_ARGUMENTS_LIMIT - strlen(" AUTH=al+20ice");
    (void)state;
    memset(in, 'a', sizeof in);
    memcpy(in, "FROM:", 5);
    for (size_t length = room - 20; length < sizeof in; length++) {
        char *out;
        size_t out_length;
        enum smtp_mail_status status = set_auth(in, length, "al ice", &out, &out_length);
        assert_int_equal(status, length <= room ? SMTP_MAIL_OK : SMTP_MAIL_LONG);
        if (status == SMTP_MAIL_OK)
            assert_memory_equal(out + out_length - 14, " AUTH=al+20ice", 14);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_addresses_pass_byte_for_byte),
        cmocka_unit_test(test_spaces_where_none_belong_are_taken_out),
        cmocka_unit_test(test_recipients_have_the_form_of_senders),
        cmocka_unit_test(test_auth_parameter_is_taken_out),
        cmocka_unit_test(test_what_can_be_read_in_two_ways_is_refused),
        cmocka_unit_test(test_what_is_no_path_is_refused),
        cmocka_unit_test(test_no_reader_finds_auth_in_any_mixture),
        cmocka_unit_test(test_login_takes_the_place_of_what_a_client_wrote),
        cmocka_unit_test(test_who_is_called_nobody_is_not_told),
        cmocka_unit_test(test_login_that_has_no_room_is_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
