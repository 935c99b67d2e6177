/* What is learned from a backend's EHLO reply, and what of it is said to clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ehlo_reader.h"
#include "proxy/smtp/ehlo.h"
#include "proxy/smtp/xclient.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct smtp_ehlo_own nothing_own = {.hostname = "mail.example.org"};

static void learn(struct smtp_ehlo *ehlo, const char *text)
{
    size_t length = strlen(text);
    char *exact = malloc(length ? length : 1);
    assert_non_null(exact);
    memcpy(exact, text, length);
    smtp_ehlo_learn(ehlo, exact, length);
    free(exact);
}

/* Into an allocation of just its size. */
static void format(const struct smtp_ehlo *ehlo, const struct smtp_ehlo_own *own,
                   char out[static SMTP_EHLO_TEXT_SIZE])
{
    char *exact = malloc(SMTP_EHLO_TEXT_SIZE);
    assert_non_null(exact);
    size_t length = smtp_ehlo_format(ehlo, own, exact);
    const char *fault = ehlo_reply_fault(exact, length, own);
    if (fault)
        fail_msg("wrong in this reply: %s\n%s", fault, exact);
    memcpy(out, exact, length + 1);
    free(exact);
}

/* Threat 26: each offer, as the backend makes it; none that it does not make. */
static void test_each_keyword_is_offered_as_the_backend_offers_it(void **state)
{
    static const struct {
        const char *learned, *said; /* NULL: nothing */
    } cases[] = {
        {"PIPELINING", "PIPELINING"},
        {"SIZE 10240000", "SIZE 10240000"},
        {"SIZE", "SIZE"},
        {"SIZE 0", "SIZE 0"},
        {"8BITMIME", "8BITMIME"},
        {"ENHANCEDSTATUSCODES", "ENHANCEDSTATUSCODES"},
        {"DSN", "DSN"},
        {"SMTPUTF8", "SMTPUTF8"},
        {"CHUNKING", "CHUNKING"},
        {"DELIVERBY 240", "DELIVERBY 240"},
        {"FUTURERELEASE 172800 2026-12-31T00:00:00Z",
         "FUTURERELEASE 172800 2026-12-31T00:00:00Z"},
        {"MT-PRIORITY STANAG4406", "MT-PRIORITY STANAG4406"},
        {"NO-SOLICITING net.example:ADV", "NO-SOLICITING net.example:ADV"},
        {"LIMITS RCPTMAX=100 MAILMAX=20", "LIMITS RCPTMAX=100 MAILMAX=20"},
        {"ETRN", "ETRN"},
        {"VRFY", "VRFY"},
        {"EXPN", "EXPN"},
        {"size 5", "SIZE 5"},
        {"Pipelining", "PIPELINING"},
        {"DSN \t", "DSN"},
        {"BINARYMIME", NULL},
        {"8BITMIMEX", NULL},
        {"8BITMIM", NULL},
        {" DSN", NULL},
        {"DSN\tx", NULL},
        {"SIZE=5", NULL},
        {"SIZE 5\x01", NULL},
        {"SIZE 5\r\n250-AUTH", NULL},
        {"SIZE \xc3\xb6", NULL},
        {"SIZE \x7f", NULL},
        {"DSN\xa0", NULL},
        {"", NULL},
        {" ", NULL},
        {"\xff\xfe", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_ehlo ehlo = {0};
        char reply[SMTP_EHLO_TEXT_SIZE], expected[256];
        learn(&ehlo, cases[i].learned);
        format(&ehlo, &nothing_own, reply);
        if (cases[i].said)
            snprintf(expected, sizeof expected, "250-mail.example.org\r\n250 %s\r\n",
                     cases[i].said);
        else
            snprintf(expected, sizeof expected, "250 mail.example.org\r\n");
        assert_string_equal(reply, expected);
    }
}

/* Threat 9. */
static void test_what_is_the_backends_own_affair_never_leaks(void **state)
{
    static const char *const lines[] = {
        "STARTTLS",
        "starttls",
        "AUTH PLAIN LOGIN",
        "AUTH=PLAIN LOGIN",
        "AUTH",
        "XCLIENT NAME",
        "XFORWARD NAME ADDR",
        "XSECURITY x",
        "PIPECONNECT",
        "X_PIPE_CONNECT",
        "BURL imap",
        "HELP",
        "help topics",
        "XCONNECT",
        "PROXY",
        "REQUIRETLS",
        "X-EXPS GSSAPI",
        "XEXCH50",
        "X-LINK2STATE",
        "TURN",
        "ATRN",
        "CHECKPOINT",
        "CONPERM",
        "VERB",
        "ONEX",
        "SUBMITTER",
        "XVERP",
        "XSHADOW",
    };
    struct smtp_ehlo ehlo = {0};
    char reply[SMTP_EHLO_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++)
        learn(&ehlo, lines[i]);
    format(&ehlo, &nothing_own, reply);
    assert_string_equal(reply, "250 mail.example.org\r\n");
    assert_true(ehlo.starttls);
}

static void test_xclient_attributes_are_learned(void **state)
{
    struct smtp_ehlo ehlo = {0};
    (void)state;
    learn(&ehlo, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT");
    assert_int_equal(ehlo.xclient, (1u << SMTP_XCLIENT_COUNT) - 1);
    learn(&ehlo, "xclient NAME HELO");
    assert_int_equal(ehlo.xclient, 1u << SMTP_XCLIENT_NAME | 1u << SMTP_XCLIENT_HELO);
    learn(&ehlo, "XCLIENT");
    assert_int_equal(ehlo.xclient, 0);
}

static void test_own_lines_come_in_the_form_that_clients_read(void **state)
{
    static const struct {
        struct smtp_ehlo_own own;
        const char *learned, *reply;
    } cases[] = {
        {{.hostname = "h"}, "", "250 h\r\n"},
        {{.hostname = "h", .starttls = true}, "", "250-h\r\n250-STARTTLS\r\n250 HELP\r\n"},
        {{.hostname = "h", .starttls = true}, "DSN", "250-h\r\n250-STARTTLS\r\n250 DSN\r\n"},
        {{.hostname = "h", .mechanisms = "PLAIN LOGIN"},
         "DSN",
         "250-h\r\n250-AUTH PLAIN LOGIN\r\n250 DSN\r\n"},
        {{.hostname = "h", .mechanisms = "PLAIN"}, "", "250-h\r\n250 AUTH PLAIN\r\n"},
        {{.hostname = "h", .mechanisms = ""}, "", "250 h\r\n"},
        {{.hostname = "h", .mechanisms = "PLAIN LOGIN", .legacy_auth = true},
         "",
         "250-h\r\n250-AUTH PLAIN LOGIN\r\n250 AUTH=PLAIN LOGIN\r\n"},
        {{.hostname = "h", .legacy_auth = true}, "", "250 h\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_ehlo ehlo = {0};
        char reply[SMTP_EHLO_TEXT_SIZE];
        learn(&ehlo, cases[i].learned);
        format(&ehlo, &cases[i].own, reply);
        assert_string_equal(reply, cases[i].reply);
    }
}

/* Whatever is or is not offered besides: some clients miss STARTTLS in the last line. */
static void test_starttls_is_never_the_last_line(void **state)
{
    (void)state;
    for (uint32_t offered = 0; offered < 1u << SMTP_EXT_COUNT; offered++) {
        struct smtp_ehlo ehlo = {.offered = offered};
        struct smtp_ehlo_own own = {.hostname = "h", .starttls = true};
        char reply[SMTP_EHLO_TEXT_SIZE];
        size_t length = smtp_ehlo_format(&ehlo, &own, reply);
        assert_memory_not_equal(reply + length - 14, "250 STARTTLS\r\n", 14);
    }
}

static void test_binarymime_counts_only_with_chunking(void **state)
{
    struct smtp_ehlo ehlo = {0};
    char reply[SMTP_EHLO_TEXT_SIZE];
    (void)state;
    learn(&ehlo, "BINARYMIME");
    learn(&ehlo, "CHUNKING");
    format(&ehlo, &nothing_own, reply);
    assert_string_equal(reply, "250-mail.example.org\r\n250-CHUNKING\r\n250 BINARYMIME\r\n");
}

static void test_the_last_line_of_a_keyword_counts(void **state)
{
    struct smtp_ehlo ehlo = {0};
    char reply[SMTP_EHLO_TEXT_SIZE];
    (void)state;
    learn(&ehlo, "SIZE 1000");
    learn(&ehlo, "DSN");
    learn(&ehlo, "SIZE 2000");
    format(&ehlo, &nothing_own, reply);
    assert_string_equal(reply, "250-mail.example.org\r\n250-SIZE 2000\r\n250 DSN\r\n");
    learn(&ehlo, "SIZE \x01");
    format(&ehlo, &nothing_own, reply);
    assert_string_equal(reply, "250-mail.example.org\r\n250 DSN\r\n");
}

static void learn_long(struct smtp_ehlo *ehlo, const char *keyword, size_t parameter_length)
{
    char line[4096];
    size_t keyword_length = strlen(keyword);
    memcpy(line, keyword, keyword_length);
    line[keyword_length] = ' ';
    memset(line + keyword_length + 1, 'x', parameter_length);
    line[keyword_length + 1 + parameter_length] = '\0';
    learn(ehlo, line);
}

static void test_long_parameters_drop_their_keyword_and_no_other(void **state)
{
    struct smtp_ehlo ehlo = {0};
    (void)state;
    learn_long(&ehlo, "SIZE", SMTP_EHLO_PARAMETER_LIMIT + 1);
    assert_false(smtp_ehlo_offers(&ehlo, SMTP_EXT_SIZE));
    learn_long(&ehlo, "SIZE", SMTP_EHLO_PARAMETER_LIMIT);
    assert_true(smtp_ehlo_offers(&ehlo, SMTP_EXT_SIZE));
    learn_long(&ehlo, "LIMITS", SMTP_EHLO_PARAMETERS_SIZE - SMTP_EHLO_PARAMETER_LIMIT + 1);
    assert_false(smtp_ehlo_offers(&ehlo, SMTP_EXT_LIMITS));
    learn_long(&ehlo, "LIMITS", SMTP_EHLO_PARAMETERS_SIZE - SMTP_EHLO_PARAMETER_LIMIT);
    assert_true(smtp_ehlo_offers(&ehlo, SMTP_EXT_LIMITS));
    learn_long(&ehlo, "DELIVERBY", 1);
    assert_false(smtp_ehlo_offers(&ehlo, SMTP_EXT_DELIVERBY));
    learn(&ehlo, "DSN");
    assert_true(smtp_ehlo_offers(&ehlo, SMTP_EXT_DSN));
    assert_true(smtp_ehlo_offers(&ehlo, SMTP_EXT_SIZE));
    learn_long(&ehlo, "XCLIENT NAME", 4000);
    assert_int_equal(ehlo.xclient, 1u << SMTP_XCLIENT_NAME);
}

static void test_a_thousand_lines_are_bounded(void **state)
{
    static const char *const lines[] = {"SIZE 12345",    "LIMITS RCPTMAX=1",  "X-NEW thing", "",
                                        "\xff\xff \xff", "MT-PRIORITY a b c", "DSN"};
    struct smtp_ehlo ehlo = {0};
    char reply[SMTP_EHLO_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        learn(&ehlo, lines[i % COUNT(lines)]);
        assert_in_range(ehlo.parameters_length, 0, SMTP_EHLO_PARAMETERS_SIZE);
    }
    format(&ehlo, &nothing_own, reply);
    assert_true(ehlo_reply_offers(reply, strlen(reply), "DSN"));
}

/* All keywords with all of the parameters' room, the longest host name, mechanisms without end:
 * no byte is written behind SMTP_EHLO_TEXT_SIZE, and all but what is over-long is in it. */
static void test_the_largest_reply_has_room(void **state)
{
    static const char *const keywords[] = {
        "PIPELINING",  "8BITMIME",      "ENHANCEDSTATUSCODES",
        "DSN",         "SMTPUTF8",      "CHUNKING",
        "BINARYMIME",  "DELIVERBY",     "FUTURERELEASE",
        "MT-PRIORITY", "NO-SOLICITING", "LIMITS",
        "ETRN",        "VRFY",          "EXPN",
    };
    static char hostname[5000], mechanisms[5000];
    struct smtp_ehlo ehlo = {0};
    char reply[SMTP_EHLO_TEXT_SIZE], expected[300];
    (void)state;
    memset(hostname, 'h', sizeof hostname - 1);
    for (size_t i = 0; i + 1 < sizeof mechanisms; i++)
        mechanisms[i] = i % 8 == 7 ? ' ' : 'M';
    for (size_t i = 0; i < COUNT(keywords); i++)
        learn_long(&ehlo, keywords[i], 16);
    learn_long(&ehlo, "SIZE", SMTP_EHLO_PARAMETERS_SIZE - COUNT(keywords) * 16);
    assert_int_equal(ehlo.offered, (1u << SMTP_EXT_COUNT) - 1);
    assert_int_equal(ehlo.parameters_length, SMTP_EHLO_PARAMETERS_SIZE);

    struct smtp_ehlo_own own = {hostname, true, mechanisms, true};
    format(&ehlo, &own, reply);
    snprintf(expected, sizeof expected, "\r\n250-AUTH %.*s\r\n", SMTP_EHLO_MECHANISMS_LIMIT,
             mechanisms);
    assert_non_null(strstr(reply, expected));
    for (size_t i = 0; i < COUNT(keywords); i++)
        assert_true(ehlo_reply_offers(reply, strlen(reply), keywords[i]));
    assert_int_equal(strcspn(reply, "\r"), 4 + 255);
}

static void test_mechanisms_are_left_out_whole(void **state)
{
    char mechanisms[SMTP_EHLO_MECHANISMS_LIMIT + 32], reply[SMTP_EHLO_TEXT_SIZE];
    struct smtp_ehlo ehlo = {0};
    struct smtp_ehlo_own own = {.hostname = "h", .mechanisms = mechanisms};
    (void)state;
    memset(mechanisms, 'M', sizeof mechanisms - 1);
    mechanisms[sizeof mechanisms - 1] = '\0';
    format(&ehlo, &own, reply);
    assert_string_equal(reply, "250 h\r\n");
    memcpy(mechanisms, "PLAIN ", 6);
    format(&ehlo, &own, reply);
    assert_string_equal(reply, "250-h\r\n250 AUTH PLAIN\r\n");
}

/* A client that was offered a keyword may use it: a backend that lacks it is noticed. */
static void test_each_keyword_that_is_lacking_is_noticed(void **state)
{
    (void)state;
    for (int i = 0; i < SMTP_EXT_COUNT; i++) {
        struct smtp_ehlo offer = {0}, none = {0}, other = {0};
        const char *keyword = smtp_ehlo_keyword((enum smtp_extension)i);
        char line[64];
        learn(&offer, keyword);
        assert_int_equal(smtp_ehlo_lacks(&none, &offer), 1u << i);
        assert_int_equal(smtp_ehlo_lacks(&offer, &offer), 0);
        assert_int_equal(smtp_ehlo_lacks(&offer, &none), 0);
        snprintf(line, sizeof line, "%s 9", keyword);
        learn(&other, line);
        assert_int_equal(smtp_ehlo_lacks(&other, &offer), 1u << i);
    }
}

static void test_limit_that_is_no_number_is_none(void **state)
{
    static const struct {
        const char *line;
        uint64_t limit;
    } cases[] = {
        {"SIZE", 0},
        {"SIZE 0", 0},
        {"SIZE 10240000", 10240000},
        {"SIZE 10x", 0},
        {"SIZE x", 0},
        {"SIZE 10 20", 0},
        {"SIZE 1:", 0},
        {"SIZE 1/", 0},
        {"SIZE 1234567890", 1234567890},
        {"SIZE 99999999999999999999999999", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_ehlo ehlo = {0};
        learn(&ehlo, cases[i].line);
        assert_int_equal(smtp_ehlo_size_limit(&ehlo), cases[i].limit);
    }
}

static void test_smaller_limit_is_less(void **state)
{
    static const struct {
        const char *has, *offered;
        bool lacks;
    } cases[] = {
        {"SIZE 10", "SIZE 10", false}, {"SIZE 11", "SIZE 10", false},
        {"SIZE 9", "SIZE 10", true},   {"SIZE", "SIZE 10", false},
        {"SIZE 0", "SIZE 10", false},  {"SIZE 10", "SIZE 0", true},
        {"SIZE 1", "SIZE", true},      {"SIZE 0", "SIZE", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_ehlo has = {0}, offered = {0};
        learn(&has, cases[i].has);
        learn(&offered, cases[i].offered);
        assert_int_equal(smtp_ehlo_lacks(&has, &offered),
                         cases[i].lacks ? 1u << SMTP_EXT_SIZE : 0);
    }
}

static void test_equal_means_the_same_reply(void **state)
{
    static const struct {
        const char *a[3], *b[3];
        bool equal;
    } cases[] = {
        {{"DSN", "SIZE 5", ""}, {"SIZE 5", "DSN", ""}, true},
        {{"DSN", "SIZE 5", ""}, {"SIZE 4", "SIZE 5", "DSN"}, true},
        {{"DSN", "SIZE 5", ""}, {"DSN", "SIZE 6", ""}, false},
        {{"DSN", "SIZE 5", ""}, {"DSN", "SIZE", ""}, false},
        {{"DSN", "SIZE 5", ""}, {"DSN", "", ""}, false},
        {{"XCLIENT ADDR", "", ""}, {"XCLIENT NAME", "", ""}, false},
        {{"STARTTLS", "", ""}, {"", "", ""}, false},
        {{"X-OTHER", "", ""}, {"", "", ""}, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_ehlo a = {0}, b = {0};
        for (size_t j = 0; j < 3; j++) {
            learn(&a, cases[i].a[j]);
            learn(&b, cases[i].b[j]);
        }
        assert_int_equal(smtp_ehlo_equal(&a, &b), cases[i].equal);
        assert_int_equal(smtp_ehlo_equal(&b, &a), cases[i].equal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_keyword_is_offered_as_the_backend_offers_it),
        cmocka_unit_test(test_what_is_the_backends_own_affair_never_leaks),
        cmocka_unit_test(test_xclient_attributes_are_learned),
        cmocka_unit_test(test_own_lines_come_in_the_form_that_clients_read),
        cmocka_unit_test(test_starttls_is_never_the_last_line),
        cmocka_unit_test(test_binarymime_counts_only_with_chunking),
        cmocka_unit_test(test_the_last_line_of_a_keyword_counts),
        cmocka_unit_test(test_long_parameters_drop_their_keyword_and_no_other),
        cmocka_unit_test(test_a_thousand_lines_are_bounded),
        cmocka_unit_test(test_the_largest_reply_has_room),
        cmocka_unit_test(test_mechanisms_are_left_out_whole),
        cmocka_unit_test(test_each_keyword_that_is_lacking_is_noticed),
        cmocka_unit_test(test_limit_that_is_no_number_is_none),
        cmocka_unit_test(test_smaller_limit_is_less),
        cmocka_unit_test(test_equal_means_the_same_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
