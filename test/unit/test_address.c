/* Addresses as postmasters write them and as logs, PAM and XCLIENT read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

#include "proxy/base/address.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static struct address parsed(const char *text)
{
    struct address address;
    const char *why = NULL;
    if (!address_parse(text, &address, &why))
        fail_msg("%s: %s", text, why);
    return address;
}

static void test_what_is_written_is_what_is_shown(void **state)
{
    static const struct {
        const char *text, *shown, *host;
        uint16_t port;
    } cases[] = {
        {"192.0.2.1:25", "192.0.2.1:25", "192.0.2.1", 25},
        {"0.0.0.0:65535", "0.0.0.0:65535", "0.0.0.0", 65535},
        {"[2001:db8::1]:587", "[2001:db8::1]:587", "2001:db8::1", 587},
        {"[2001:0DB8:0:0::1]:00587", "[2001:db8::1]:587", "2001:db8::1", 587},
        {"[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]:1", "::ffff:192.0.2.1", 1},
        {"*:465", "[::]:465", "::", 465},
        {"localhost:2525", "127.0.0.1:2525", "127.0.0.1", 2525},
        {"unix:/run/mta.sock", "unix:/run/mta.sock", "local", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[ADDRESS_TEXT_SIZE], host[ADDRESS_HOST_SIZE];
        struct address address = parsed(cases[i].text);
        address_text(&address, text);
        address_host(&address, host);
        assert_string_equal(text, cases[i].shown);
        assert_string_equal(host, cases[i].host);
        assert_int_equal(address_port(&address), cases[i].port);
    }
}

static void test_what_is_no_address_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "no port"},
        {"25", "no port"},
        {"192.0.2.1", "no port"},
        {"[::1]", "no port"},
        {":25", "no host"},
        {"[]:25", "no host"},
        {"192.0.2.1:", "port"},
        {"192.0.2.1:0", "1 to 65535"},
        {"192.0.2.1:65536", "1 to 65535"},
        {"192.0.2.1:000025", "1 to 65535"},
        {"192.0.2.1:+25", "1 to 65535"},
        {"192.0.2.1: 25", "1 to 65535"},
        {"192.0.2.1:25 ", "1 to 65535"},
        {"::1:25", "brackets"},
        {"2001:db8::1:25", "brackets"},
        {"[192.0.2.1]:25", "IPv6"},
        {"[::1%lo]:25", "IPv6"},
        {"[::1:25", "brackets"},
        {"192.0.2.256:25", "not an IP address"},
        {"192.0.2:25", "not an IP address"},
        {"mail.example.org:25", "not looked up"},
        {" 192.0.2.1:25", "not an IP address"},
        {"unix:", "slash"},
        {"unix:relative", "slash"},
        {"unix:/a/path/of/more/than/one/hundred/and/eight/bytes/does/not/fit/into/the/address/"
         "of/a/unix/socket/on/any/linux/system",
         "too long"},
        {"a-host-name-that-is-longer-than-any-address-can-be-written-in-any-way.example:25",
         "too long"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address address;
        const char *why = "";
        if (address_parse(cases[i].text, &address, &why))
            fail_msg("\"%s\" was taken", cases[i].text);
        if (!strstr(why, cases[i].why))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", cases[i].text, why, cases[i].why);
        assert_int_equal(address.length, 0);
    }
}

static void test_mapped_client_is_an_ipv4_client(void **state)
{
    struct address mapped = parsed("[::ffff:192.0.2.1]:25"), plain = parsed("192.0.2.1:25");
    struct address other = parsed("[2001:db8::1]:25"), local = parsed("unix:/x");
    (void)state;
    assert_false(address_equal(&mapped, &plain));
    address_normalise(&mapped);
    assert_true(address_equal(&mapped, &plain));
    assert_int_equal(mapped.length, sizeof(struct sockaddr_in));

    struct address before = other;
    address_normalise(&other);
    assert_true(address_equal(&other, &before));
    address_normalise(&local);
    assert_int_equal(local.any.sa_family, AF_UNIX);
}

static void test_equal_is_same_host_and_port(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"*:465", "[::]:465", true},
        {"192.0.2.1:25", "192.0.2.1:25", true},
        {"192.0.2.1:25", "192.0.2.1:26", false},
        {"192.0.2.1:25", "192.0.2.2:25", false},
        {"[::1]:25", "[::2]:25", false},
        {"0.0.0.0:25", "[::]:25", false},
        {"unix:/a", "unix:/a", true},
        {"unix:/a", "unix:/ab", false},
        {"unix:/a", "127.0.0.1:25", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address a = parsed(cases[i].a), b = parsed(cases[i].b);
        assert_int_equal(address_equal(&a, &b), cases[i].equal);
        assert_int_equal(address_equal(&b, &a), cases[i].equal);
    }
}

static void test_one_client_has_one_key(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"192.0.2.1:1", "192.0.2.1:2", true},
        {"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
        {"192.0.2.1:1", "192.0.2.2:1", false},
        {"[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::9]:1", true},
        {"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false},
        {"[::]:1", "0.0.0.0:1", false},
        {"[::]:1", "unix:/x", false},
        {"0.0.0.0:1", "unix:/x", false},
        {"unix:/y", "unix:/x", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address a = parsed(cases[i].a), b = parsed(cases[i].b);
        struct address_key key_a = address_key(&a), key_b = address_key(&b);
        bool same = key_a.high == key_b.high && key_a.low == key_b.low;
        assert_int_equal(same, cases[i].same);
        assert_int_equal(address_key_equal(&key_a, &key_b), cases[i].same);
    }
}

static void test_own_host_and_nobody_are_known(void **state)
{
    static const struct {
        const char *text;
        bool loopback, any;
    } cases[] = {
        {"127.0.0.1:1", true, false},
        {"127.255.255.254:1", true, false},
        {"126.255.255.255:1", false, false},
        {"128.0.0.1:1", false, false},
        {"[::1]:1", true, false},
        {"[::ffff:127.0.0.2]:1", true, false},
        {"[::2]:1", false, false},
        {"[::127.0.0.1]:1", false, false},
        {"0.0.0.0:1", false, true},
        {"[::]:1", false, true},
        {"[::ffff:0.0.0.0]:1", false, true},
        {"0.0.0.1:1", false, false},
        {"unix:/run/x", false, false},
    };
    struct address none = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address address = parsed(cases[i].text);
        assert_int_equal(address_is_loopback(&address), cases[i].loopback);
        assert_int_equal(address_is_any(&address), cases[i].any);
    }
    assert_false(address_is_loopback(&none) || address_is_any(&none));
}

/* accept() on a unix socket gives an address without a path. */
static void test_nameless_peer_is_local(void **state)
{
    char text[ADDRESS_TEXT_SIZE], host[ADDRESS_HOST_SIZE];
    struct address peer = {.length = sizeof(sa_family_t)}, none = {0};
    (void)state;
    peer.any.sa_family = AF_UNIX;
    memset(peer.local.sun_path, 'x', sizeof peer.local.sun_path);
    address_text(&peer, text);
    address_host(&peer, host);
    assert_string_equal(text, "unix:");
    assert_string_equal(host, "local");
    address_text(&none, text);
    assert_string_equal(text, "none");
    assert_int_equal(address_port(&none), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_what_is_shown),
        cmocka_unit_test(test_what_is_no_address_is_refused_with_a_reason),
        cmocka_unit_test(test_mapped_client_is_an_ipv4_client),
        cmocka_unit_test(test_equal_is_same_host_and_port),
        cmocka_unit_test(test_one_client_has_one_key),
        cmocka_unit_test(test_own_host_and_nobody_are_known),
        cmocka_unit_test(test_nameless_peer_is_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
