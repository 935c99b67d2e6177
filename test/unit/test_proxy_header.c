/* The PROXY protocol: what a load balancer says is read whole or not at all (threat 19), and
 * what is written is read the same by a strict reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/proxy_header.h"
#include "proxy/smtp/proxy_header_internal.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* From an allocation of its own size: a byte too many is seen. */
static enum proxy_header_status read_exactly(const void *bytes, size_t length,
                                             struct proxy_header *out)
{
    char *exact = malloc(length ? length : 1);
    assert_non_null(exact);
    if (length)
        memcpy(exact, bytes, length);
    enum proxy_header_status status = proxy_header_read(exact, length, out);
    free(exact);
    return status;
}

static void assert_endpoint(const struct proxy_header_endpoint *endpoint, const char *host,
                            unsigned port)
{
    char text[INET6_ADDRSTRLEN];
    assert_int_not_equal(endpoint->family, PROXY_HEADER_UNKNOWN);
    int af = endpoint->family == PROXY_HEADER_IPV4 ? AF_INET : AF_INET6;
    assert_non_null(inet_ntop(af, endpoint->bytes, text, sizeof text));
    assert_string_equal(text, host);
    assert_int_equal(endpoint->port, port);
}

/*
 * Takes the header as a listener does, as many bytes as are wanted at a time, and returns how
 * it ended; nothing behind the header is ever asked for.
 */
static enum proxy_header_status take(const char *bytes, size_t length, size_t header,
                                     struct proxy_header *out)
{
    size_t had = 0;
    for (;;) {
        enum proxy_header_status status = read_exactly(bytes, had, out);
        if (status != PROXY_HEADER_MORE)
            return status;
        assert_in_range(out->wanted, 1, header - had);
        had += out->wanted;
        assert_in_range(had, 1, length);
    }
}

static void check_line(const char *line, const char *source, unsigned source_port,
                       const char *destination, unsigned destination_port)
{
    struct proxy_header header;
    char text[256];
    size_t length = strlen(line);
    snprintf(text, sizeof text, "%sEHLO x\r\n", line);
    assert_int_equal(take(text, strlen(text), length, &header), PROXY_HEADER_DONE);
    assert_int_equal(header.length, length);
    assert_endpoint(&header.source, source, source_port);
    assert_endpoint(&header.destination, destination, destination_port);
    for (size_t cut = 0; cut < length; cut++)
        assert_int_equal(read_exactly(line, cut, &header), PROXY_HEADER_MORE);
    assert_int_equal(read_exactly(text, strlen(text), &header), PROXY_HEADER_DONE);
    assert_int_equal(header.length, length);
}

static void test_lines_of_version_1(void **state)
{
    (void)state;
    check_line("PROXY TCP4 203.0.113.9 192.0.2.1 40000 465\r\n", "203.0.113.9", 40000,
               "192.0.2.1", 465);
    check_line("PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", "1.1.1.1", 0, "1.1.1.1", 0);
    check_line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255",
               65535, "255.255.255.255", 65535);
    check_line("PROXY TCP6 2001:db8::9 2001:DB8::1 1 2\r\n", "2001:db8::9", 1, "2001:db8::1",
               2);
    check_line("PROXY TCP6 :: ::1 1 2\r\n", "::", 1, "::1", 2);
    check_line("PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 "
               "1111:2222:3333:4444:5555:6666:7777:9999 65535 65535\r\n",
               "1111:2222:3333:4444:5555:6666:7777:8888", 65535,
               "1111:2222:3333:4444:5555:6666:7777:9999", 65535);
}

/* Nobody gets a second face, and a second share of what one address may have. */
static void test_an_ipv4_client_is_one_client(void **state)
{
    (void)state;
    check_line("PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 1 2\r\n", "203.0.113.9", 1,
               "2001:db8::1", 2);
    check_line("PROXY TCP6 ::ffff:cb00:7109 ::ffff:192.0.2.1 1 2\r\n", "203.0.113.9", 1,
               "192.0.2.1", 2);
}

static void test_unknown_announces_nobody(void **state)
{
    static const char *const lines[] = {
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN \r\n",
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "PROXY UNKNOWN anything at all\r\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct proxy_header header;
        size_t length = strlen(lines[i]);
        assert_int_equal(take(lines[i], length, length, &header), PROXY_HEADER_DONE);
        assert_int_equal(header.length, length);
        assert_int_equal(header.source.family, PROXY_HEADER_UNKNOWN);
        assert_int_equal(header.destination.family, PROXY_HEADER_UNKNOWN);
    }
}

/* Threat 19. */
static void test_lines_that_are_none_are_refused(void **state)
{
    static const char *const lines[] = {
        "EHLO x\r\n",
        "PROXZ",
        "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        " PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rX\n",
        "PROXY TCP4 1.1.1.1\r 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1\n 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1\t1.1.1.1 1 1\r\n",
        "PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 0x1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 16843009 1.1.1.1 1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "PROXY TCP4 ::ffff:1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
        "PROXY TCP6 [::1] ::1 1 1\r\n",
        "PROXY TCP6 :::1 ::1 1 1\r\n",
        "PROXY TCP6 1::2::3 ::1 1 1\r\n",
        "PROXY TCP6 00001::2 ::1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 00 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1a 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 4294967297 1\r\n",
        "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN 1\n",
        "PROXY UNKNOWN \r1\r\n",
        "PROXY\r\n",
        "\r\nEHLO x\r\n",
        "\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct proxy_header header;
        if (read_exactly(lines[i], strlen(lines[i]), &header) != PROXY_HEADER_BAD)
            fail_msg("%s: not refused", lines[i]);
    }
}

static void test_nul_in_a_line_is_refused(void **state)
{
    static const char line[] = "PROXY TCP4 1.1.1.1\0x 1.1.1.1 1 1\r\n";
    struct proxy_header header;
    (void)state;
    assert_int_equal(read_exactly(line, sizeof line - 1, &header), PROXY_HEADER_BAD);
}

/* Threat 19: 107 bytes are a line, one more is not waited for. */
static void test_line_without_end_is_refused(void **state)
{
    char line[200];
    struct proxy_header header;
    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(read_exactly(line, 105, &header), PROXY_HEADER_MORE);
    assert_int_equal(header.wanted, 2);
    assert_int_equal(read_exactly(line, 106, &header), PROXY_HEADER_BAD);
    assert_int_equal(read_exactly(line, sizeof line, &header), PROXY_HEADER_BAD);
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(read_exactly(line, 106, &header), PROXY_HEADER_MORE);
    assert_int_equal(header.wanted, 1);
    assert_int_equal(read_exactly(line, 107, &header), PROXY_HEADER_DONE);
    memcpy(line + 105, "x\r\n", 3);
    assert_int_equal(read_exactly(line, 108, &header), PROXY_HEADER_BAD);
}

/* A header of version 2 from its parts. */
struct block {
    size_t length;
    uint8_t bytes[8192];
};

static void begin(struct block *block, uint8_t command, uint8_t family)
{
    memcpy(block->bytes, "\r\n\r\n\0\r\nQUIT\n", 12);
    block->bytes[12] = command;
    block->bytes[13] = family;
    block->length = 16;
}

static void add(struct block *block, const void *bytes, size_t length)
{
    memcpy(block->bytes + block->length, bytes, length);
    block->length += length;
}

static void add_tlv(struct block *block, uint8_t type, const void *value, size_t length)
{
    const uint8_t head[] = {type, (uint8_t)(length >> 8), (uint8_t)length};
    add(block, head, sizeof head);
    add(block, value, length);
}

static void end(struct block *block)
{
    block->bytes[14] = (uint8_t)((block->length - 16) >> 8);
    block->bytes[15] = (uint8_t)(block->length - 16);
}

static const uint8_t ipv4[12] = {203, 0, 113, 9, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xd1};
static const uint8_t ipv6[36] = {0x20, 0x01, 0x0d,     0xb8,        [15] = 9, 0x20, 0x01,
                                 0x0d, 0xb8, [31] = 1, [32] = 0x9c, 0x40,     0x01, 0xd1};

static enum proxy_header_status take_block(struct block *block, struct proxy_header *header)
{
    end(block);
    size_t length = block->length;
    memcpy(block->bytes + length, "EHLO x\r\n", 8);
    return take((const char *)block->bytes, length, length, header);
}

static void test_headers_of_version_2(void **state)
{
    struct block block;
    struct proxy_header header;
    (void)state;
    begin(&block, 0x21, 0x11);
    add(&block, ipv4, sizeof ipv4);
    assert_int_equal(take_block(&block, &header), PROXY_HEADER_DONE);
    assert_int_equal(header.length, 28);
    assert_endpoint(&header.source, "203.0.113.9", 40000);
    assert_endpoint(&header.destination, "192.0.2.1", 465);

    begin(&block, 0x21, 0x21);
    add(&block, ipv6, sizeof ipv6);
    add_tlv(&block, PROXY_HEADER_AUTHORITY, "mail.example", 12);
    add_tlv(&block, PROXY_HEADER_NOOP, "", 0);
    assert_int_equal(take_block(&block, &header), PROXY_HEADER_DONE);
    assert_int_equal(header.length, 16 + 36 + 15 + 3);
    assert_endpoint(&header.source, "2001:db8::9", 40000);
    assert_endpoint(&header.destination, "2001:db8::1", 465);
}

/* LOCAL is a load balancer's own check; of the others it knows no client that we could. */
static void test_other_families_announce_nobody(void **state)
{
    static const struct {
        uint8_t command, family;
        size_t length;
    } cases[] = {{0x20, 0x00, 0},  {0x20, 0x11, 12},  {0x20, 0x11, 3},
                 {0x20, 0xff, 7},  {0x21, 0x00, 0},   {0x21, 0x12, 12},
                 {0x21, 0x22, 36}, {0x21, 0x31, 216}, {0x21, 0x32, 216}};
    static const uint8_t any[216] = {1};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct block block;
        struct proxy_header header;
        begin(&block, cases[i].command, cases[i].family);
        add(&block, any, cases[i].length);
        assert_int_equal(take_block(&block, &header), PROXY_HEADER_DONE);
        assert_int_equal(header.length, 16 + cases[i].length);
        assert_int_equal(header.source.family, PROXY_HEADER_UNKNOWN);
        assert_int_equal(header.destination.family, PROXY_HEADER_UNKNOWN);
    }
}

/* Threat 19. */
static void test_broken_headers_of_version_2_are_refused(void **state)
{
    static const struct {
        uint8_t command, family;
        size_t length; /* of addresses, all zero */
    } cases[] = {{0x11, 0x11, 12}, {0x31, 0x11, 12}, {0x01, 0x11, 12}, {0x22, 0x11, 12},
                 {0x2f, 0x00, 0},  {0x21, 0x11, 11}, {0x21, 0x11, 0},  {0x21, 0x21, 35},
                 {0x21, 0x21, 12}, {0x21, 0x01, 12}, {0x21, 0x13, 12}, {0x21, 0x41, 36},
                 {0x21, 0x31, 215}};
    static const uint8_t any[216] = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct block block;
        struct proxy_header header;
        begin(&block, cases[i].command, cases[i].family);
        add(&block, any, cases[i].length);
        assert_int_equal(take_block(&block, &header), PROXY_HEADER_BAD);
    }
    for (size_t i = 0; i < 12; i++) {
        struct block block;
        struct proxy_header header;
        begin(&block, 0x21, 0x11);
        block.bytes[i] ^= 1;
        assert_int_equal(read_exactly(block.bytes, i + 1, &header), PROXY_HEADER_BAD);
    }
}

/* Threat 19: a TLV that goes beyond the header, or a header that ends within one. */
static void test_tlvs_fill_the_header(void **state)
{
    static const struct {
        const char *tlvs;
        size_t length;
        bool good;
    } cases[] = {
        {"\x01\x00\x04smtp", 7, true},
        {"\x01\x00\x04smtp\x04\x00\x00", 10, true},
        {"\xe0\x00\x00", 3, true},
        {"\x20\x00\x05\x01\0\0\0\0", 8, true},
        {"\x20\x00\x08\x01\0\0\0\0\x21\x00\x00", 11, true},
        {"\x01", 1, false},
        {"\x01\x00", 2, false},
        {"\x01\x00\x05smtp", 7, false},
        {"\x01\x00\x03smtp", 7, false},
        {"\x01\xff\xffsmtp", 7, false},
        {"\x20\x00\x04\x01\0\0\0", 7, false},
        {"\x20\x00\x06\x01\0\0\0\0\x21", 9, false},
        {"\x20\x00\x08\x01\0\0\0\0\x21\x00\x01", 11, false},
        {"\x03\x00\x03\0\0\0", 6, false},
        {"\x03\x00\x04\0\0\0\0", 7, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct block block;
        struct proxy_header header;
        begin(&block, 0x21, 0x11);
        add(&block, ipv4, sizeof ipv4);
        add(&block, cases[i].tlvs, cases[i].length);
        if ((take_block(&block, &header) == PROXY_HEADER_DONE) != cases[i].good)
            fail_msg("case %zu", i);
    }
}

/* Threat 19: what is announced is bounded before it is waited for. */
static void test_oversized_header_is_refused_at_once(void **state)
{
    struct block block;
    struct proxy_header header;
    (void)state;
    begin(&block, 0x21, 0x11);
    add(&block, ipv4, sizeof ipv4);
    static const char big[5000];
    add_tlv(&block, PROXY_HEADER_NOOP, big, PROXY_HEADER_READ_LIMIT - 28 - 3);
    assert_int_equal(take_block(&block, &header), PROXY_HEADER_DONE);
    assert_int_equal(header.length, PROXY_HEADER_READ_LIMIT);
    block.bytes[15]++;
    assert_int_equal(read_exactly(block.bytes, 16, &header), PROXY_HEADER_BAD);
    block.bytes[14] = block.bytes[15] = 0xff;
    assert_int_equal(read_exactly(block.bytes, 16, &header), PROXY_HEADER_BAD);
}

/* RFC 3720 appendix B.4 */
static void test_checksum_of_known_bytes(void **state)
{
    uint8_t bytes[32];
    (void)state;
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(proxy_header_crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(proxy_header_crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
    assert_int_equal(proxy_header_crc32c(0, (const uint8_t *)"123456789", 9), 0xe3069283);
}

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
        cmocka_unit_test(test_lines_of_version_1),
        cmocka_unit_test(test_an_ipv4_client_is_one_client),
        cmocka_unit_test(test_unknown_announces_nobody),
        cmocka_unit_test(test_lines_that_are_none_are_refused),
        cmocka_unit_test(test_nul_in_a_line_is_refused),
        cmocka_unit_test(test_line_without_end_is_refused),
        cmocka_unit_test(test_headers_of_version_2),
        cmocka_unit_test(test_other_families_announce_nobody),
        cmocka_unit_test(test_broken_headers_of_version_2_are_refused),
        cmocka_unit_test(test_tlvs_fill_the_header),
        cmocka_unit_test(test_oversized_header_is_refused_at_once),
        cmocka_unit_test(test_checksum_of_known_bytes),
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
