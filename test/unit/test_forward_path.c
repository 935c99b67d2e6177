/* RCPT's recipients at a door for certain domains: ordinary ones are found, and none that some
 * server would send on to another domain passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lenient_forward.h"
#include "proxy/smtp/forward_path.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* From an allocation of its own size; what passes is read alike by all readers. */
static enum smtp_forward_path_status parse(const char *arguments, size_t length)
{
    struct smtp_forward_path path;
    char *exact = malloc(length + 1);
    assert_non_null(exact);
    memcpy(exact, arguments, length + 1);
    enum smtp_forward_path_status status = smtp_forward_path_parse(exact, length, &path);
    if (status == SMTP_FORWARD_PATH_OK && !lenient_readers_agree(exact, &path))
        fail_msg("%s: is sent elsewhere", arguments);
    char *bare = realloc(exact, length ? length : 1);
    assert_non_null(bare);
    struct smtp_forward_path again;
    assert_int_equal(smtp_forward_path_parse(bare, length, &again), status);
    free(bare);
    return status;
}

static void check(const char *arguments, const char *local_part, const char *domain)
{
    struct smtp_forward_path path;
    size_t length = strlen(arguments);
    assert_int_equal(parse(arguments, length), SMTP_FORWARD_PATH_OK);
    assert_int_equal(smtp_forward_path_parse(arguments, length, &path), SMTP_FORWARD_PATH_OK);
    assert_int_equal(path.local_part_length, strlen(local_part));
    assert_memory_equal(path.local_part, local_part, path.local_part_length);
    assert_int_equal(path.domain != NULL, domain != NULL);
    assert_int_equal(path.domain_length, domain ? strlen(domain) : 0);
    if (domain)
        assert_memory_equal(path.domain, domain, path.domain_length);
}

static void test_ordinary_recipients(void **state)
{
    static const struct {
        const char *arguments, *local_part, *domain;
    } cases[] = {
        {"TO:<alice@example.org>", "alice", "example.org"},
        {"to:<alice@example.org>", "alice", "example.org"},
        {"TO: <Alice@EXAMPLE.org>", "Alice", "EXAMPLE.org"},
        {"TO:<sub+detail@example.org>", "sub+detail", "example.org"},
        {"TO:<a.b-c_d=e@mail.example.org>", "a.b-c_d=e", "mail.example.org"},
        {"TO:<o'neil@xn--mnchen-3ya.example>", "o'neil", "xn--mnchen-3ya.example"},
        {"TO:<\"alice\"@example.org>", "alice", "example.org"},
        {"TO:<\"a..b.\"@example.org>", "a..b.", "example.org"},
        {"TO:<alice@example>", "alice", "example"},
        {"TO:<a@b>", "a", "b"},
        {"TO:<\"a\"@b>", "a", "b"},
        {"TO:<alice@my_host.example>", "alice", "my_host.example"},
        {"TO:<SRS0=xY+z=AB=c.example=bob@example.org>", "SRS0=xY+z=AB=c.example=bob",
         "example.org"},
        {"TO:<alice@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;alice@example.org",
         "alice", "example.org"},
        {"TO:<alice@example.org> X", "alice", "example.org"},
        {"TO:<alice@example.org>  ", "alice", "example.org"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        check(cases[i].arguments, cases[i].local_part, cases[i].domain);
}

/* RFC 5321 section 4.5.1 */
static void test_postmaster_needs_no_domain(void **state)
{
    (void)state;
    check("TO:<postmaster>", "postmaster", NULL);
    check("TO:<Postmaster>", "Postmaster", NULL);
    check("TO:<POSTMASTER> NOTIFY=NEVER", "POSTMASTER", NULL);
    check("TO:<postmaster@example.org>", "postmaster", "example.org");
}

static const struct {
    const char *arguments;
    enum smtp_forward_path_status status;
} refused[] = {
    {"TO:<@a.example:alice@example.org>", SMTP_FORWARD_PATH_ROUTE},
    {"TO:<@example.org:alice@other.example>", SMTP_FORWARD_PATH_ROUTE},
    {"TO:<@example.org,@b.example:alice@other.example>", SMTP_FORWARD_PATH_ROUTE},
    {"TO:<@example.org>", SMTP_FORWARD_PATH_ROUTE},
    {"TO:<alice%other.example@example.org>", SMTP_FORWARD_PATH_PERCENT},
    {"TO:<%@example.org>", SMTP_FORWARD_PATH_PERCENT},
    {"TO:<alice%other.example>", SMTP_FORWARD_PATH_PERCENT},
    {"TO:<other.example!alice@example.org>", SMTP_FORWARD_PATH_BANG},
    {"TO:<a!b!c>", SMTP_FORWARD_PATH_BANG},
    {"TO:<\"alice@other.example\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"alice@other.example\">", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"alice%other.example\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"other.example!alice\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"alice smith\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"a\\@b\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"a:b\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"|cat\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"a\"b@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<a\"b\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"a\".\"b\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"a\"@b@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<\"@example.org>", SMTP_FORWARD_PATH_QUOTED},
    {"TO:<alice@other.example@example.org>", SMTP_FORWARD_PATH_TWO_AT},
    {"TO:<alice@@example.org>", SMTP_FORWARD_PATH_TWO_AT},
    {"TO:<a@b:c@example.org>", SMTP_FORWARD_PATH_TWO_AT},
    {"TO:<|cat@example.org>", SMTP_FORWARD_PATH_PIPE},
    {"TO:</var/mail/x@example.org>", SMTP_FORWARD_PATH_PIPE},
    {"TO:<a/../b@example.org>", SMTP_FORWARD_PATH_PIPE},
    {"TO:<alice@[192.0.2.1]>", SMTP_FORWARD_PATH_LITERAL},
    {"TO:<alice@[IPv6:::1]>", SMTP_FORWARD_PATH_LITERAL},
    {"TO:<alice@[127.0.0.1>", SMTP_FORWARD_PATH_LITERAL},
    {"TO:<alice>", SMTP_FORWARD_PATH_NO_DOMAIN},
    {"TO:<postmasters>", SMTP_FORWARD_PATH_NO_DOMAIN},
    {"TO:<\"postmaster\">", SMTP_FORWARD_PATH_NO_DOMAIN},
    {"TO:<alice@example.org.>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@.example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example..org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@exam ple.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org:25>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org,bob@other.example>", SMTP_FORWARD_PATH_TWO_AT},
    {"TO:<alice@example.org(comment)>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice(comment)@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<other:alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<node::alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice smith@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:< alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org >", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<a\\@b@example.org>", SMTP_FORWARD_PATH_TWO_AT},
    {"TO:<a\\b@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<.alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice.@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<a..b@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice;bob@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<<alice@example.org>>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:alice@example.org", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:alice@other.example <bob@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:\"Alice\" <alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:", SMTP_FORWARD_PATH_SYNTAX},
    {"TO", SMTP_FORWARD_PATH_SYNTAX},
    {"", SMTP_FORWARD_PATH_SYNTAX},
    {"FROM:<alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO <alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {" TO:<alice@example.org>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org><bob@other.example>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org>,<bob@other.example>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org> <bob@other.example>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org> X=<bob@other.example>", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org> X=\"y", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org>X", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org> =X", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<alice@example.org> bob@other.example", SMTP_FORWARD_PATH_SYNTAX},
    {"TO:<j\xc3\xb6rg@example.org>", SMTP_FORWARD_PATH_EIGHT_BIT},
    {"TO:<alice@ex\xc3\xa4mple.org>", SMTP_FORWARD_PATH_EIGHT_BIT},
    {"TO:<alice\xef\xbc\xa0other.example@example.org>", SMTP_FORWARD_PATH_EIGHT_BIT},
    {"TO:<al\tice@example.org>", SMTP_FORWARD_PATH_BYTE},
    {"TO:\t<alice@example.org>", SMTP_FORWARD_PATH_BYTE},
    {"TO:<alice@example.org\r>", SMTP_FORWARD_PATH_BYTE},
    {"TO:<alice@example.org\x7f>", SMTP_FORWARD_PATH_BYTE},
    {"TO:<alice@example.org> X\n", SMTP_FORWARD_PATH_BYTE},
};

static void test_what_could_be_sent_elsewhere_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        enum smtp_forward_path_status status =
            parse(refused[i].arguments, strlen(refused[i].arguments));
        if (status != refused[i].status)
            fail_msg("%s: %s", refused[i].arguments, smtp_forward_path_reason(status));
        assert_true(strlen(smtp_forward_path_reason(status)) > 3);
    }
}

static void test_nul_is_refused_everywhere(void **state)
{
    static const char line[] = "TO:<alice@example.org> X=1";
    (void)state;
    for (size_t i = 0; i < sizeof line - 1; i++) {
        char text[sizeof line];
        memcpy(text, line, sizeof line);
        text[i] = '\0';
        assert_int_equal(parse(text, sizeof line - 1), SMTP_FORWARD_PATH_BYTE);
    }
}

static void test_domains(void **state)
{
    static const char *const good[] = {"a", "example.org", "1.2.3.4", "a-b.c_d", "EXAMPLE"};
    static const char *const bad[] = {"",    ".",   "a.",  ".a",       "a..b", "a b",
                                      "a@b", "[a]", "a:1", "\xc3\xa4", "a\\"};
    char label[70];
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(smtp_domain_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(smtp_domain_valid(bad[i], strlen(bad[i])));
    assert_false(smtp_domain_valid("a\0b", 3));
    memset(label, 'a', sizeof label);
    assert_true(smtp_domain_valid(label, 63));
    assert_false(smtp_domain_valid(label, 64));
    char domain[256];
    for (size_t i = 0; i < sizeof domain; i++)
        domain[i] = i % 2 ? '.' : 'a';
    assert_true(smtp_domain_valid(domain, 255));
    assert_false(smtp_domain_valid(domain, 256));
}

/* Of pieces that mean something to one reader or another, every address of up to seven. */
static void test_no_mixture_is_sent_elsewhere(void **state)
{
    static const char *const pieces[] = {"a",  "@", "%", "!", ":", "\"",
                                         "\\", ">", "<", " ", "."};
    unsigned long total = 1, passed = 0;
    (void)state;
    for (unsigned count = 1; count <= 6; count++) {
        total *= COUNT(pieces);
        for (unsigned long number = 0; number < total; number++) {
            char line[64] = "TO:<";
            size_t at = 4;
            unsigned long left = number;
            for (unsigned i = 0; i < count; i++, left /= COUNT(pieces))
                line[at++] = pieces[left % COUNT(pieces)][0];
            strcpy(line + at, "@b.c>");
            passed += parse(line, at + 5) == SMTP_FORWARD_PATH_OK;
        }
    }
    assert_true(passed > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_recipients),
        cmocka_unit_test(test_postmaster_needs_no_domain),
        cmocka_unit_test(test_what_could_be_sent_elsewhere_is_refused),
        cmocka_unit_test(test_nul_is_refused_everywhere),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_no_mixture_is_sent_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
