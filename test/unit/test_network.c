/* Networks as postmasters write them, and who is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/network.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool contains(const char *text, const char *host)
{
    char with_port[80];
    struct network network;
    struct address address;
    const char *why = NULL;
    snprintf(with_port, sizeof with_port, strchr(host, ':') ? "[%s]:25" : "%s:25", host);
    if (!network_parse(text, &network, &why))
        fail_msg("%s %s", text, why);
    assert_true(address_parse(with_port, &address, &why));
    return network_contains(&network, &address);
}

static void test_who_is_in_a_network(void **state)
{
    static const struct {
        const char *network, *host;
        bool inside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "a00::1", false},
        {"192.0.2.64/26", "192.0.2.127", true},
        {"192.0.2.64/26", "192.0.2.128", false},
        {"192.0.2.64/26", "192.0.2.63", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1/32", "192.0.2.1", true},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "203.0.113.9", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"::1", "127.0.0.1", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"2001:db8:8000::/33", "2001:db8:8000::1", true},
        {"2001:db8:8000::/33", "2001:db8:7fff::1", false},
        {"::ffff:192.0.2.0/120", "192.0.2.9", true},
        {"::ffff:192.0.2.0/120", "192.0.3.9", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (contains(cases[i].network, cases[i].host) != cases[i].inside)
            fail_msg("%s in %s", cases[i].host, cases[i].network);
}

static void test_what_is_none_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "0.0.0.0/",
        "::1/",
        "::1/x",
        "::1/0128",
        "10.0.0.0/4294967304",
        "10.0.0/8",
        "10.0.0.0/-1",
        "10.0.0.0/ 8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "::/129",
        "localhost",
        "[::1]",
        "10.0.0.0/8x",
        "::1%lo",
        "10.0.0.1/8",
        "::1/64",
        "10.0.0.0/999999999999999999999",
        "1.2.3.4:25",
        "00000000000000000000000000000000000000000000000000000000000000",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct network network;
        const char *why = NULL;
        assert_false(network_parse(texts[i], &network, &why));
        assert_non_null(why);
    }
}

static void test_who_has_no_ip_address_is_nowhere(void **state)
{
    struct network network;
    struct address nobody = {0}, local;
    const char *why;
    (void)state;
    assert_true(network_parse("0.0.0.0/0", &network, &why));
    assert_false(network_contains(&network, &nobody));
    assert_true(address_parse("unix:/run/x", &local, &why));
    assert_false(network_contains(&network, &local));
}

static void test_one_of_several_networks_is_enough(void **state)
{
    struct network networks[2];
    struct address client;
    const char *why;
    (void)state;
    assert_true(network_parse("192.0.2.0/24", &networks[0], &why));
    assert_true(network_parse("2001:db8::/32", &networks[1], &why));
    assert_true(address_parse("[2001:db8::1]:1", &client, &why));
    assert_true(networks_contain(networks, 2, &client));
    assert_false(networks_contain(networks, 1, &client));
    assert_false(networks_contain(networks, 0, &client));
    assert_false(networks_contain(NULL, 0, &client));
}

static void test_written_as_it_was_read(void **state)
{
    static const char *const texts[] = {"192.0.2.1",   "192.0.2.0/24",  "0.0.0.0/0",
                                        "2001:db8::1", "2001:db8::/32", "::/0"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct network network;
        const char *why;
        char text[NETWORK_TEXT_SIZE];
        assert_true(network_parse(texts[i], &network, &why));
        network_text(&network, text);
        assert_string_equal(text, texts[i]);
        const char *slash = strchr(text, '/');
        unsigned whole = strchr(text, ':') ? 128 : 32;
        assert_int_equal(network_prefix(&network),
                         slash ? strtoul(slash + 1, NULL, 10) : whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_as_it_was_read),
        cmocka_unit_test(test_one_of_several_networks_is_enough),
        cmocka_unit_test(test_who_is_in_a_network),
        cmocka_unit_test(test_what_is_none_is_refused),
        cmocka_unit_test(test_who_has_no_ip_address_is_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
