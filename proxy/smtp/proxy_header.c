/*
 * Reading the PROXY protocol, for a listener behind a load balancer. Every byte is believed
 * only as far as its peer is; the header may come in pieces of any size, and is read anew from
 * its start each time, so that there is no state. Never looks behind the header.
 */
#include "proxy/smtp/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#include "proxy/smtp/proxy_header_internal.h"

static const char signature[] = PROXY_HEADER_SIGNATURE;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static unsigned word_at(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

static uint32_t long_at(const uint8_t *bytes)
{
    return (uint32_t)word_at(bytes) << 16 | word_at(bytes + 2);
}

uint32_t proxy_header_crc32c(uint32_t crc, const uint8_t *bytes, size_t length)
{
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* One client has one address: ::ffff:192.0.2.1 is 192.0.2.1. */
static void set_endpoint(struct proxy_header_endpoint *endpoint, uint8_t family,
                         const uint8_t *bytes, unsigned port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(endpoint, 0, sizeof *endpoint);
    endpoint->port = (uint16_t)port;
    endpoint->family = family;
    if (family == PROXY_HEADER_IPV6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        endpoint->family = PROXY_HEADER_IPV4;
        bytes += sizeof mapped;
    }
    memcpy(endpoint->bytes, bytes, endpoint->family == PROXY_HEADER_IPV4 ? 4 : 16);
}

/*
 * Version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 40000 465\r\n". Without knowing where the line
 * ends, no more may be taken than the shortest line that begins like this one.
 */
enum { LINE_SOURCE, LINE_DESTINATION, LINE_SOURCE_PORT, LINE_DESTINATION_PORT, LINE_FIELDS };

struct line_kind {
    const char *start;
    uint8_t family;                /* enum proxy_header_family */
    uint8_t shortest[LINE_FIELDS]; /* bytes of each field */
};

static const struct line_kind line_kinds[] = {
    {"PROXY TCP4 ", PROXY_HEADER_IPV4, {7, 7, 1, 1}},
    {"PROXY TCP6 ", PROXY_HEADER_IPV6, {2, 2, 1, 1}},
    {"PROXY UNKNOWN", PROXY_HEADER_UNKNOWN, {0}},
};

#define LINE_KINDS (sizeof line_kinds / sizeof *line_kinds)

/* As many as the shortest line of all, which is "PROXY UNKNOWN\r\n". */
#define LINE_SHORTEST 15

/* The kind whose start these bytes begin with, or may yet; NULL: none. */
static const struct line_kind *find_kind(const char *bytes, size_t length)
{
    for (size_t i = 0; i < LINE_KINDS; i++)
        if (memcmp(bytes, line_kinds[i].start, smaller(length, strlen(line_kinds[i].start))) ==
            0)
            return &line_kinds[i];
    return NULL;
}

/* How many bytes of the line, CRLF included, are still to come at the least. */
static size_t line_wanted(const struct line_kind *kind, const char *bytes, size_t length)
{
    size_t missing = length > 0 && bytes[length - 1] == '\r' ? 1 : 2;
    if (length < LINE_SHORTEST)
        return LINE_SHORTEST - length;
    if (kind->family == PROXY_HEADER_UNKNOWN)
        return missing;

    const char *at = bytes + strlen(kind->start), *end = bytes + length;
    for (int field = 0; field < LINE_FIELDS; field++) {
        const char *space = at ? memchr(at, ' ', (size_t)(end - at)) : NULL;
        size_t had = at ? (size_t)((space ? space : end) - at) : 0;
        if (!space && had < kind->shortest[field])
            missing += kind->shortest[field] - had;
        missing += at ? 0 : 1;
        at = space ? space + 1 : NULL;
    }
    return missing;
}

/* 0 to 65535 in decimal, nothing about it. */
static bool read_port(const char *text, size_t length, unsigned *port)
{
    if (length == 0 || length > 5 || (length > 1 && text[0] == '0'))
        return false;
    *port = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *port = *port * 10 + (unsigned)(text[i] - '0');
    }
    return *port <= UINT16_MAX;
}

static bool read_host(uint8_t family, const char *text, size_t length, uint8_t out[static 16])
{
    char host[INET6_ADDRSTRLEN];
    if (length >= sizeof host || memchr(text, '\0', length))
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    return inet_pton(family == PROXY_HEADER_IPV4 ? AF_INET : AF_INET6, host, out) == 1;
}

/* The four fields of a line without its CRLF, each one space from the next. */
static bool read_fields(const struct line_kind *kind, const char *text, size_t length,
                        struct proxy_header *out)
{
    const char *field[LINE_FIELDS];
    size_t size[LINE_FIELDS];
    uint8_t source[16], destination[16];
    unsigned source_port, destination_port;
    for (int i = 0; i < LINE_FIELDS; i++) {
        const char *end = memchr(text, ' ', length);
        if (!end != (i == LINE_FIELDS - 1))
            return false;
        field[i] = text;
        size[i] = end ? (size_t)(end - text) : length;
        text += size[i] + (end ? 1 : 0);
        length -= size[i] + (end ? 1 : 0);
    }
    if (!read_host(kind->family, field[LINE_SOURCE], size[LINE_SOURCE], source) ||
        !read_host(kind->family, field[LINE_DESTINATION], size[LINE_DESTINATION],
                   destination) ||
        !read_port(field[LINE_SOURCE_PORT], size[LINE_SOURCE_PORT], &source_port) ||
        !read_port(field[LINE_DESTINATION_PORT], size[LINE_DESTINATION_PORT],
                   &destination_port))
        return false;
    set_endpoint(&out->source, kind->family, source, source_port);
    set_endpoint(&out->destination, kind->family, destination, destination_port);
    return true;
}

/* What follows UNKNOWN is to be passed over; it is still a field of its own. */
static bool read_line(const struct line_kind *kind, const char *line, size_t length,
                      struct proxy_header *out)
{
    size_t start = strlen(kind->start);
    if (length < start)
        return false;
    if (kind->family == PROXY_HEADER_UNKNOWN)
        return length == start || line[start] == ' ';
    return read_fields(kind, line + start, length - start, out);
}

static bool has_line_end(const char *text, size_t length)
{
    return memchr(text, '\r', length) || memchr(text, '\n', length);
}

static enum proxy_header_status read_v1(const char *bytes, size_t length,
                                        struct proxy_header *out)
{
    size_t look = smaller(length, PROXY_HEADER_LINE_LIMIT);
    const struct line_kind *kind = find_kind(bytes, look);
    if (!kind)
        return PROXY_HEADER_BAD;
    const char *end = memchr(bytes, '\n', look);
    if (end) {
        size_t line = (size_t)(end - bytes);
        out->length = line + 1;
        bool good = line > 0 && end[-1] == '\r' && !has_line_end(bytes, line - 1) &&
                    read_line(kind, bytes, line - 1, out);
        return good ? PROXY_HEADER_DONE : PROXY_HEADER_BAD;
    }
    out->wanted = line_wanted(kind, bytes, look);
    bool may_end = !has_line_end(bytes, look - 1);
    return may_end && look + out->wanted <= PROXY_HEADER_LINE_LIMIT ? PROXY_HEADER_MORE
                                                                    : PROXY_HEADER_BAD;
}

/* Do TLVs fill these bytes? What is in PROXY_HEADER_SSL are TLVs again. */
static bool tlvs_are_whole(const uint8_t *tlvs, size_t length)
{
    while (length >= PROXY_HEADER_TLV_HEAD) {
        size_t size = PROXY_HEADER_TLV_HEAD + word_at(tlvs + 1);
        if (size > length)
            return false;
        tlvs += size;
        length -= size;
    }
    return length == 0;
}

static bool crc_is_right(const uint8_t *header, size_t length, const uint8_t *crc)
{
    static const uint8_t zeros[PROXY_HEADER_CRC_SIZE] = {0};
    size_t before = (size_t)(crc - header), behind = before + PROXY_HEADER_CRC_SIZE;
    uint32_t sum = proxy_header_crc32c(0, header, before);
    sum = proxy_header_crc32c(sum, zeros, sizeof zeros);
    return proxy_header_crc32c(sum, header + behind, length - behind) == long_at(crc);
}

/* The TLVs from `at` to the end of the header. */
static bool check_tlvs(const uint8_t *header, size_t length, size_t at)
{
    enum { SSL_FIXED = 5 }; /* client, verify */
    bool has_crc = false;
    if (!tlvs_are_whole(header + at, length - at))
        return false;
    while (at < length) {
        const uint8_t *value = header + at + PROXY_HEADER_TLV_HEAD;
        uint8_t type = header[at];
        size_t size = word_at(header + at + 1);
        if (type == PROXY_HEADER_CRC32C &&
            (has_crc || size != PROXY_HEADER_CRC_SIZE || !crc_is_right(header, length, value)))
            return false;
        if (type == PROXY_HEADER_SSL &&
            (size < SSL_FIXED || !tlvs_are_whole(value + SSL_FIXED, size - SSL_FIXED)))
            return false;
        has_crc = has_crc || type == PROXY_HEADER_CRC32C;
        at += PROXY_HEADER_TLV_HEAD + size;
    }
    return true;
}

/* Families and the length of their addresses; of those without our family none is read. */
static const struct family_row {
    uint8_t number, family, size;
} families[] = {
    {0x00, PROXY_HEADER_UNKNOWN, 0},
    {PROXY_HEADER_TCP4, PROXY_HEADER_IPV4, 12},
    {0x12, PROXY_HEADER_UNKNOWN, 12}, /* UDP */
    {PROXY_HEADER_TCP6, PROXY_HEADER_IPV6, 36},
    {0x22, PROXY_HEADER_UNKNOWN, 36},
    {0x31, PROXY_HEADER_UNKNOWN, 216}, /* unix sockets */
    {0x32, PROXY_HEADER_UNKNOWN, 216},
};

static const struct family_row *find_family(uint8_t number)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i].number == number)
            return &families[i];
    return NULL;
}

/* Source, destination, and their ports. */
static void read_addresses(const struct family_row *row, const uint8_t *addresses,
                           struct proxy_header *out)
{
    size_t host = row->family == PROXY_HEADER_IPV4 ? 4 : 16;
    if (row->family == PROXY_HEADER_UNKNOWN)
        return;
    set_endpoint(&out->source, row->family, addresses, word_at(addresses + 2 * host));
    set_endpoint(&out->destination, row->family, addresses + host,
                 word_at(addresses + 2 * host + 2));
}

/* A whole header. LOCAL's content is not to be looked at. */
static bool read_block(const uint8_t *header, size_t length, struct proxy_header *out)
{
    const struct family_row *row = find_family(header[PROXY_HEADER_SIGNATURE_SIZE + 1]);
    if (header[PROXY_HEADER_SIGNATURE_SIZE] == PROXY_HEADER_LOCAL)
        return true;
    if (header[PROXY_HEADER_SIGNATURE_SIZE] != PROXY_HEADER_PROXY || !row ||
        length - PROXY_HEADER_FIXED_SIZE < row->size ||
        !check_tlvs(header, length, PROXY_HEADER_FIXED_SIZE + row->size))
        return false;
    read_addresses(row, header + PROXY_HEADER_FIXED_SIZE, out);
    return true;
}

static enum proxy_header_status read_v2(const char *bytes, size_t length,
                                        struct proxy_header *out)
{
    const uint8_t *header = (const uint8_t *)bytes;
    if (memcmp(bytes, signature, smaller(length, PROXY_HEADER_SIGNATURE_SIZE)) != 0)
        return PROXY_HEADER_BAD;
    if (length < PROXY_HEADER_FIXED_SIZE) {
        out->wanted = PROXY_HEADER_FIXED_SIZE - length;
        return PROXY_HEADER_MORE;
    }
    size_t whole = PROXY_HEADER_FIXED_SIZE + word_at(header + PROXY_HEADER_SIGNATURE_SIZE + 2);
    if (whole > PROXY_HEADER_READ_LIMIT)
        return PROXY_HEADER_BAD;
    if (length < whole) {
        out->wanted = whole - length;
        return PROXY_HEADER_MORE;
    }
    out->length = whole;
    return read_block(header, whole, out) ? PROXY_HEADER_DONE : PROXY_HEADER_BAD;
}

enum proxy_header_status proxy_header_read(const char *bytes, size_t length,
                                           struct proxy_header *out)
{
    memset(out, 0, sizeof *out);
    out->wanted = LINE_SHORTEST;
    if (length == 0)
        return PROXY_HEADER_MORE;
    return bytes[0] == signature[0] ? read_v2(bytes, length, out) : read_v1(bytes, length, out);
}
