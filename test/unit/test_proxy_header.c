/* The PROXY protocol: what a load balancer says is read whole or not at all (threat 19), and
 * what is written is read the same by a strict reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/smtp/proxy_header_internal.h"
#include "proxy_header_checks.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

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

/* A byte too few costs a call of the system, and one too many is waited for in vain. */
static void test_shortest_lines_are_asked_for_to_the_byte(void **state)
{
    static const struct {
        const char *start, *rest;
    } lines[] = {{"PROXY TCP4 ", "0.0.0.0 0.0.0.0 0 0\r\n"},
                 {"PROXY TCP6 ", ":: :: 0 0\r\n"},
                 {"PROXY UNKNOWN", "\r\n"}};
    enum { SHORTEST = sizeof "PROXY UNKNOWN\r\n" - 1 };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        char line[64];
        size_t length =
            (size_t)snprintf(line, sizeof line, "%s%s", lines[i].start, lines[i].rest);
        for (size_t cut = strlen(lines[i].start); cut < length; cut++) {
            struct proxy_header header;
            assert_int_equal(read_exactly(line, cut, &header), PROXY_HEADER_MORE);
            assert_int_equal(header.wanted, (cut < SHORTEST ? SHORTEST : length) - cut);
        }
    }
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

/* Threat 19. What comes after the checksum is part of it, and so is what comes before. */
static void test_header_with_a_checksum_is_as_it_was_sent(void **state)
{
    struct block block;
    struct proxy_header header;
    (void)state;
    begin(&block, 0x21, 0x11);
    add(&block, ipv4, sizeof ipv4);
    add_tlv(&block, PROXY_HEADER_NOOP, "one", 3);
    add_tlv(&block, PROXY_HEADER_CRC32C, "\0\0\0", 4);
    size_t at = block.length - 4;
    add_tlv(&block, PROXY_HEADER_NOOP, "another", 7);
    end(&block);
    uint32_t sum = proxy_header_crc32c(0, block.bytes, block.length);
    for (size_t i = 0; i < 4; i++)
        block.bytes[at + i] = (uint8_t)(sum >> (24 - 8 * i));
    assert_int_equal(take_block(&block, &header), PROXY_HEADER_DONE);
    assert_int_equal(header.length, block.length);

    const size_t changed[] = {16, at - 8, at, at + 3, block.length - 1};
    for (size_t i = 0; i < COUNT(changed); i++) {
        block.bytes[changed[i]] ^= 1;
        assert_int_equal(take_block(&block, &header), PROXY_HEADER_BAD);
        block.bytes[changed[i]] ^= 1;
    }
}

/* Both of these are right: each is that of the header with zeros in its own place. */
static void test_second_checksum_is_refused(void **state)
{
    struct block block;
    struct proxy_header header;
    (void)state;
    begin(&block, 0x21, 0x11);
    add(&block, ipv4, sizeof ipv4);
    add_tlv(&block, PROXY_HEADER_CRC32C, "\x3e\x8e\x80\x30", 4);
    add_tlv(&block, PROXY_HEADER_CRC32C, "\x24\x35\x2f\x10", 4);
    assert_int_equal(take_block(&block, &header), PROXY_HEADER_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_version_1),
        cmocka_unit_test(test_shortest_lines_are_asked_for_to_the_byte),
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
        cmocka_unit_test(test_header_with_a_checksum_is_as_it_was_sent),
        cmocka_unit_test(test_second_checksum_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
