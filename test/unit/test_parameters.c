/* Parameters of MAIL and RCPT that a backend does not know: left out where the message is the
 * same without them, found where it is not, and nothing else is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/ehlo.h"
#include "proxy/smtp/parameters.h"

#define BIT(extension) (1u << (extension))
#define EVERYTHING     UINT32_MAX
#define COUNT(table)   (sizeof(table) / sizeof(table)[0])

/* In and out are allocations of their own size: bytes too many are seen by the sanitizer. */
static void check(const char *in, uint32_t extensions, const char *expected, uint32_t needed)
{
    size_t length = strlen(in), out_length = 0;
    char *exact = malloc(length + 1), *out = malloc(length + 1);
    assert_non_null(exact);
    assert_non_null(out);
    exact = realloc(exact, length ? length : 1);
    out = realloc(out, length ? length : 1);
    memcpy(exact, in, length);
    const char *word = in[0] == 'T' || in[0] == 't' ? "TO:" : "FROM:";
    uint32_t found =
        smtp_parameters_leave_out(exact, length, word, extensions, out, &out_length);
    if (out_length != strlen(expected) || memcmp(out, expected, out_length) != 0)
        fail_msg("%s: became %.*s", in, (int)out_length, out);
    if (found != needed)
        fail_msg("%s: found %x", in, (unsigned)found);
    size_t again = 0; /* the same where it stands */
    assert_int_equal(smtp_parameters_leave_out(exact, length, word, extensions, exact, &again),
                     found);
    assert_int_equal(again, out_length);
    assert_memory_equal(exact, out, out_length);
    free(exact);
    free(out);
}

static void test_dispensable_ones_are_left_out(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"FROM:<a@b>", "FROM:<a@b>"},
        {"FROM:<a@b> SIZE=5", "FROM:<a@b>"},
        {"FROM:<a@b> size=5 RET=HDRS  ENVID=x", "FROM:<a@b>"},
        {"FROM:<> BODY=7bit X-OWN=1 MT-PRIORITY=3", "FROM:<> X-OWN=1"},
        {"from: <a@b>  AUTH=<> SIZE=5", "from: <a@b>  AUTH=<>"},
        {"FROM:a@b SIZE=5", "FROM:a@b"},
        {"FROM:<a@b> SIZES=5 RETX", "FROM:<a@b> SIZES=5 RETX"},
        {"TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;a@b", "TO:<a@b>"},
        {"TO:<@a,@b:c@d> NOTIFY=NEVER", "TO:<@a,@b:c@d>"},
        {"TO:<\"x SIZE=5 y\"@b> NOTIFY=NEVER", "TO:<\"x SIZE=5 y\"@b>"},
        {"TO:<\"x> SIZE=5\"@b> SIZE=5", "TO:<\"x> SIZE=5\"@b> SIZE=5"}, /* not to be read */
        {"TO:<a SIZE=5", "TO:<a SIZE=5"},
        {"", ""},
        {"X", "X"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        check(cases[i].in, EVERYTHING, cases[i].out, 0);
}

static void test_those_without_which_a_message_is_another_are_found_and_kept(void **state)
{
    static const struct {
        const char *in;
        uint32_t needed;
    } cases[] = {
        {"FROM:<a@b> BODY=8BITMIME", BIT(SMTP_EXT_8BITMIME)},
        {"FROM:<a@b> body=binarymime", BIT(SMTP_EXT_BINARYMIME)},
        {"FROM:<a@b> SMTPUTF8 BY=60;R", BIT(SMTP_EXT_SMTPUTF8) | BIT(SMTP_EXT_DELIVERBY)},
        {"FROM:<a@b> HOLDFOR=5", BIT(SMTP_EXT_FUTURERELEASE)},
        {"FROM:<a@b> HOLDUNTIL=x SOLICIT=org.x:ADV",
         BIT(SMTP_EXT_FUTURERELEASE) | BIT(SMTP_EXT_NO_SOLICITING)},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        check(cases[i].in, EVERYTHING, cases[i].in, cases[i].needed);
}

static void test_only_the_given_extensions_are_looked_at(void **state)
{
    (void)state;
    check("FROM:<a@b> SIZE=5 RET=FULL BODY=8BITMIME", 0,
          "FROM:<a@b> SIZE=5 RET=FULL BODY=8BITMIME", 0);
    check("FROM:<a@b> SIZE=5 RET=FULL BODY=8BITMIME", BIT(SMTP_EXT_DSN),
          "FROM:<a@b> SIZE=5 BODY=8BITMIME", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dispensable_ones_are_left_out),
        cmocka_unit_test(test_those_without_which_a_message_is_another_are_found_and_kept),
        cmocka_unit_test(test_only_the_given_extensions_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
