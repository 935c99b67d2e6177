/* What a backend hears of a client, and which client it does not hear enough of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/identity.h"

#define BIT(name) (1u << SMTP_XCLIENT_##name)

static struct address client, local;

static int make(void **state)
{
    const char *why;
    (void)state;
    assert_true(address_parse("[2001:db8::9]:40000", &client, &why));
    assert_true(address_parse("192.0.2.1:465", &local, &why));
    return 0;
}

static struct identity alice(void)
{
    return (struct identity){.id = "a1",
                             .login = "alice",
                             .helo = "pc.example",
                             .esmtp = true,
                             .client = &client,
                             .local = &local};
}

static bool tell(const struct identity *identity, uint32_t offered, uint32_t required,
                 struct smtp_xclient_commands *out, char cause[static IDENTITY_CAUSE_SIZE])
{
    struct config_backend backend = {.required = required};
    struct smtp_ehlo ehlo = {.xclient = offered};
    cause[0] = '\0';
    return identity_xclient(identity, &backend, &ehlo, out, cause);
}

static void test_everything_that_is_offered_is_told(void **state)
{
    static const char told[] = "XCLIENT HELO=pc.example PROTO=ESMTP PORT=40000 "
                               "DESTADDR=192.0.2.1 DESTPORT=465 LOGIN=alice "
                               "NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::9\r\n";
    struct smtp_xclient_commands commands;
    char cause[IDENTITY_CAUSE_SIZE];
    struct identity identity = alice();
    (void)state;
    assert_true(tell(&identity, UINT32_MAX >> (32 - SMTP_XCLIENT_COUNT), BIT(ADDR) | BIT(LOGIN),
                     &commands, cause));
    assert_int_equal(commands.count, 1);
    assert_int_equal(commands.length[0], sizeof told - 1);
    assert_memory_equal(commands.text[0], told, sizeof told - 1);
}

static void test_what_is_required_and_not_offered_is_named(void **state)
{
    struct smtp_xclient_commands commands;
    char cause[IDENTITY_CAUSE_SIZE];
    struct identity identity = alice();
    (void)state;
    assert_false(tell(&identity, 0, BIT(ADDR), &commands, cause));
    assert_string_equal(cause, "backend does not offer XCLIENT");
    assert_false(tell(&identity, BIT(ADDR), BIT(ADDR) | BIT(LOGIN), &commands, cause));
    assert_string_equal(cause, "backend does not offer XCLIENT LOGIN");
    assert_false(tell(&identity, BIT(HELO), BIT(ADDR) | BIT(LOGIN), &commands, cause));
    assert_string_equal(cause, "backend does not offer XCLIENT LOGIN ADDR");
    assert_true(
        tell(&identity, BIT(ADDR) | BIT(LOGIN), BIT(ADDR) | BIT(LOGIN), &commands, cause));
}

/* As at a door for inbound mail, before a backend that knows no logins. */
static void test_stranger_has_no_login_to_be_told(void **state)
{
    struct smtp_xclient_commands commands;
    char cause[IDENTITY_CAUSE_SIZE];
    struct identity stranger = alice();
    (void)state;
    stranger.login = NULL;
    assert_true(tell(&stranger, BIT(ADDR), BIT(ADDR) | BIT(LOGIN), &commands, cause));
    assert_false(tell(&stranger, BIT(HELO), BIT(ADDR) | BIT(LOGIN), &commands, cause));
    assert_string_equal(cause, "backend does not offer XCLIENT ADDR");
}

static void test_header_of_its_version_comes_first(void **state)
{
    char out[IDENTITY_PREAMBLE_SIZE];
    size_t length = 1;
    const struct identity identity = alice();
    (void)state;
    assert_true(
        identity_preamble(identity_way(CONFIG_IDENTITY_XCLIENT), &identity, out, &length));
    assert_int_equal(length, 0);
    assert_true(identity_preamble(identity_way(CONFIG_IDENTITY_NONE), NULL, out, &length));
    assert_int_equal(length, 0);

    static const char line[] = "PROXY TCP6 2001:db8::9 ::ffff:192.0.2.1 40000 465\r\n";
    const struct identity_way *v1 = identity_way(CONFIG_IDENTITY_PROXY_V1);
    assert_true(identity_preamble(v1, &identity, out, &length));
    assert_int_equal(length, sizeof line - 1);
    assert_memory_equal(out, line, sizeof line - 1);
    assert_true(identity_preamble(v1, NULL, out, &length));
    assert_memory_equal(out, "PROXY UNKNOWN\r\n", 15);
    assert_int_equal(length, 15);

    const struct identity_way *v2 = identity_way(CONFIG_IDENTITY_PROXY_V2);
    struct proxy_header header;
    assert_true(identity_preamble(v2, &identity, out, &length));
    assert_int_equal(proxy_header_read(out, length, &header), PROXY_HEADER_DONE);
    assert_int_equal(header.source.port, 40000);
    assert_memory_equal(header.source.bytes, client.v6.sin6_addr.s6_addr, 16);
}

static void test_address_is_told_by_these_ways(void **state)
{
    static const struct {
        enum config_identity identity;
        uint32_t required;
        bool tells;
    } cases[] = {
        {CONFIG_IDENTITY_AUTO, BIT(ADDR), true},    {CONFIG_IDENTITY_AUTO, BIT(LOGIN), false},
        {CONFIG_IDENTITY_XCLIENT, BIT(ADDR), true}, {CONFIG_IDENTITY_XCLIENT, 0, false},
        {CONFIG_IDENTITY_PROXY_V1, 0, true},        {CONFIG_IDENTITY_PROXY_V2, 0, true},
        {CONFIG_IDENTITY_AUTH_PARAM, 0, false},     {CONFIG_IDENTITY_TRACE, BIT(ADDR), false},
        {CONFIG_IDENTITY_PROGRAM, 0, true},         {CONFIG_IDENTITY_TRANSPARENT, 0, true},
        {CONFIG_IDENTITY_NONE, BIT(ADDR), false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config_backend backend = {.identity = cases[i].identity,
                                         .required = cases[i].required};
        assert_int_equal(identity_tells_address(&backend), cases[i].tells);
    }
    assert_string_equal(identity_way_name(CONFIG_IDENTITY_NONE), "none");
    assert_null(identity_way_name(CONFIG_IDENTITY_NONE + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_that_is_offered_is_told),
        cmocka_unit_test(test_what_is_required_and_not_offered_is_named),
        cmocka_unit_test(test_stranger_has_no_login_to_be_told),
        cmocka_unit_test(test_header_of_its_version_comes_first),
        cmocka_unit_test(test_address_is_told_by_these_ways),
    };
    return cmocka_run_group_tests(tests, make, NULL);
}
