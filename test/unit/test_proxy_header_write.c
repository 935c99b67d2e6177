/* The PROXY protocol as it is written to backends: a strict reader finds just what was told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy_header_checks.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void set(struct proxy_header_endpoint *endpoint, const char *host, unsigned port)
{
    memset(endpoint, 0, sizeof *endpoint);
    bool v6 = strchr(host, ':') != NULL;
    endpoint->family = v6 ? PROXY_HEADER_IPV6 : PROXY_HEADER_IPV4;
    endpoint->port = (uint16_t)port;
    assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, host, endpoint->bytes), 1);
}

static struct proxy_header_identity alice(const char *source, const char *destination)
{
    struct proxy_header_identity identity = {
        .login = "alice@example.org",
        .client = PROXY_HEADER_CLIENT_SSL | PROXY_HEADER_CLIENT_CERT_CONN,
        .verified = true,
        .tls_version = "TLSv1.3",
        .tls_cipher = "TLS_AES_128_GCM_SHA256",
        .certificate_name = "alice's laptop",
        .key_algorithm = "RSA2048",
        .signature_algorithm = "SHA256",
        .authority = "mail.example.org",
        .alpn = "smtp",
        .unique_id = "a1b2c3",
    };
    set(&identity.source, source, 40000);
    set(&identity.destination, destination, 465);
    return identity;
}

/* The value of the first TLV of a type, from `at` to `length`; NULL: there is none. */
static const uint8_t *find_tlv(const uint8_t *header, size_t at, size_t length, uint8_t type,
                               size_t *size)
{
    while (at < length) {
        assert_true(length - at >= 3);
        *size = (size_t)header[at + 1] << 8 | header[at + 2];
        assert_true(*size <= length - at - 3);
        if (header[at] == type)
            return header + at + 3;
        at += 3 + *size;
    }
    return NULL;
}

static void assert_tlv(const uint8_t *header, size_t at, size_t length, uint8_t type,
                       const char *expected)
{
    size_t size;
    const uint8_t *value = find_tlv(header, at, length, type, &size);
    if (!expected) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(value, expected, size);
}

/* Into an allocation of that size; the caller frees it. */
static uint8_t *write_exactly(enum proxy_header_version version,
                              const struct proxy_header_identity *identity, size_t size,
                              size_t *length)
{
    uint8_t *out = malloc(size);
    assert_non_null(out);
    *length = proxy_header_write(version, identity, (char *)out, size);
    assert_true(*length <= size);
    return out;
}

static void test_lines_are_written(void **state)
{
    static const struct {
        const char *source, *destination, *line;
    } cases[] = {
        {"203.0.113.9", "192.0.2.1", "PROXY TCP4 203.0.113.9 192.0.2.1 40000 465\r\n"},
        {"2001:db8::9", "2001:db8::1", "PROXY TCP6 2001:db8::9 2001:db8::1 40000 465\r\n"},
        {"203.0.113.9", "2001:db8::1",
         "PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 40000 465\r\n"},
        {"1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8889",
         "PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 "
         "1111:2222:3333:4444:5555:6666:7777:8889 40000 465\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct proxy_header_identity identity = alice(cases[i].source, cases[i].destination);
        size_t length;
        uint8_t *line =
            write_exactly(PROXY_HEADER_V1, &identity, PROXY_HEADER_LEAST_SIZE, &length);
        assert_int_equal(length, strlen(cases[i].line));
        assert_memory_equal(line, cases[i].line, length);
        free(line);
    }
}

static void test_everything_is_told_in_version_2(void **state)
{
    struct proxy_header_identity identity = alice("203.0.113.9", "192.0.2.1");
    struct proxy_header header;
    size_t length, size;
    (void)state;
    uint8_t *out = write_exactly(PROXY_HEADER_V2, &identity, PROXY_HEADER_SIZE, &length);
    assert_int_equal(read_exactly(out, length, &header), PROXY_HEADER_DONE);
    assert_int_equal(header.length, length);
    assert_endpoint(&header.source, "203.0.113.9", 40000);
    assert_endpoint(&header.destination, "192.0.2.1", 465);
    assert_tlv(out, 28, length, PROXY_HEADER_LOGIN, identity.login);
    assert_tlv(out, 28, length, PROXY_HEADER_ALPN, identity.alpn);
    assert_tlv(out, 28, length, PROXY_HEADER_AUTHORITY, identity.authority);
    assert_tlv(out, 28, length, PROXY_HEADER_UNIQUE_ID, identity.unique_id);
    assert_non_null(find_tlv(out, 28, length, PROXY_HEADER_CRC32C, &size));

    const uint8_t *ssl = find_tlv(out, 28, length, PROXY_HEADER_SSL, &size);
    assert_non_null(ssl);
    assert_memory_equal(ssl, "\x03\0\0\0\0", 5);
    assert_tlv(ssl, 5, size, PROXY_HEADER_SSL_VERSION, identity.tls_version);
    assert_tlv(ssl, 5, size, PROXY_HEADER_SSL_CIPHER, identity.tls_cipher);
    assert_tlv(ssl, 5, size, PROXY_HEADER_SSL_CN, identity.certificate_name);
    assert_tlv(ssl, 5, size, PROXY_HEADER_SSL_KEY, identity.key_algorithm);
    assert_tlv(ssl, 5, size, PROXY_HEADER_SSL_SIGNATURE, identity.signature_algorithm);

    out[length - 1] ^= 1;
    assert_int_equal(read_exactly(out, length, &header), PROXY_HEADER_BAD);
    free(out);
}

static void test_nothing_is_told_of_what_there_is_not(void **state)
{
    struct proxy_header_identity identity = alice("203.0.113.9", "2001:db8::1");
    struct proxy_header header;
    size_t length, size;
    (void)state;
    identity.client = 0;
    identity.login = NULL;
    identity.alpn = "";
    uint8_t *out = write_exactly(PROXY_HEADER_V2, &identity, PROXY_HEADER_SIZE, &length);
    assert_int_equal(read_exactly(out, length, &header), PROXY_HEADER_DONE);
    assert_endpoint(&header.source, "203.0.113.9", 40000);
    assert_endpoint(&header.destination, "2001:db8::1", 465);
    assert_null(find_tlv(out, 52, length, PROXY_HEADER_SSL, &size));
    assert_null(find_tlv(out, 52, length, PROXY_HEADER_LOGIN, &size));
    assert_null(find_tlv(out, 52, length, PROXY_HEADER_ALPN, &size));
    free(out);
}

static void test_certificate_that_was_not_verified_is_told_as_such(void **state)
{
    struct proxy_header_identity identity = alice("203.0.113.9", "192.0.2.1");
    size_t length, size;
    (void)state;
    identity.verified = false;
    uint8_t *out = write_exactly(PROXY_HEADER_V2, &identity, PROXY_HEADER_SIZE, &length);
    const uint8_t *ssl = find_tlv(out, 28, length, PROXY_HEADER_SSL, &size);
    assert_non_null(ssl);
    assert_memory_equal(ssl, "\x03\0\0\0\x01", 5);
    free(out);
}

/* At every size that it can be given, a header is whole, and the login is in it or there is
 * none. */
static void test_header_keeps_to_its_room(void **state)
{
    char login[400], name[300];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (size_t size = PROXY_HEADER_LEAST_SIZE; size <= PROXY_HEADER_SIZE + 64; size += 3) {
        for (size_t letters = 0; letters < sizeof login; letters += 7) {
            struct proxy_header_identity identity = alice("2001:db8::9", "2001:db8::1");
            struct proxy_header header;
            size_t length;
            memset(login, 'l', letters);
            login[letters] = '\0';
            identity.login = letters ? login : NULL;
            identity.certificate_name = name;
            uint8_t *out = write_exactly(PROXY_HEADER_V2, &identity, size, &length);
            assert_int_equal(length > 0, 52 + 3 + letters + 7 <= size || letters == 0);
            assert_true(length <= PROXY_HEADER_SIZE);
            if (length > 0) {
                assert_int_equal(read_exactly(out, length, &header), PROXY_HEADER_DONE);
                assert_tlv(out, 52, length, PROXY_HEADER_LOGIN, identity.login);
            }
            free(out);
        }
    }
}

static void test_ordinary_identity_fits_the_strictest_reader(void **state)
{
    struct proxy_header_identity identity = alice("2001:db8::9", "2001:db8::1");
    size_t length;
    (void)state;
    identity.key_algorithm = identity.signature_algorithm = NULL;
    uint8_t *out = write_exactly(PROXY_HEADER_V2, &identity, PROXY_HEADER_SMALL_SIZE, &length);
    assert_tlv(out, 52, length, PROXY_HEADER_UNIQUE_ID, identity.unique_id);
    free(out);
}

/* Promise 3: a header without an address would make the client whoever connects. */
static void test_unknown_endpoints_are_not_written(void **state)
{
    char out[PROXY_HEADER_SIZE];
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct proxy_header_identity identity = alice("203.0.113.9", "192.0.2.1");
        if (which == 0)
            identity.source.family = PROXY_HEADER_UNKNOWN;
        else
            identity.destination.family = PROXY_HEADER_UNKNOWN;
        assert_int_equal(proxy_header_write(PROXY_HEADER_V1, &identity, out, sizeof out), 0);
        assert_int_equal(proxy_header_write(PROXY_HEADER_V2, &identity, out, sizeof out), 0);
    }
}

static void test_health_checks_announce_nobody(void **state)
{
    (void)state;
    for (int version = PROXY_HEADER_V1; version <= PROXY_HEADER_V2; version++) {
        char out[PROXY_HEADER_LEAST_SIZE];
        struct proxy_header header;
        size_t length =
            proxy_header_write_local((enum proxy_header_version)version, out, sizeof out);
        assert_int_equal(read_exactly(out, length, &header), PROXY_HEADER_DONE);
        assert_int_equal(header.length, length);
        assert_int_equal(header.source.family, PROXY_HEADER_UNKNOWN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_written),
        cmocka_unit_test(test_everything_is_told_in_version_2),
        cmocka_unit_test(test_nothing_is_told_of_what_there_is_not),
        cmocka_unit_test(test_certificate_that_was_not_verified_is_told_as_such),
        cmocka_unit_test(test_header_keeps_to_its_room),
        cmocka_unit_test(test_ordinary_identity_fits_the_strictest_reader),
        cmocka_unit_test(test_unknown_endpoints_are_not_written),
        cmocka_unit_test(test_health_checks_announce_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
