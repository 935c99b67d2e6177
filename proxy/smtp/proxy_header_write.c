/*
 * Writing the PROXY protocol, for backends that learn who the client is from it. A header is
 * whole or there is none; what does not fit of the rest is left out, never cut. Pure.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "proxy/smtp/proxy_header.h"
#include "proxy/smtp/proxy_header_internal.h"

/* Where the next byte goes. */
struct writer {
    char *out;
    size_t at, size;
};

static bool has_room(const struct writer *writer, size_t length)
{
    return length <= writer->size - writer->at;
}

static void put(struct writer *writer, const void *bytes, size_t length)
{
    memcpy(writer->out + writer->at, bytes, length);
    writer->at += length;
}

static void put_word(struct writer *writer, size_t number)
{
    const uint8_t bytes[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    put(writer, bytes, sizeof bytes);
}

/* Says at `where` how many bytes have been written behind it. */
static void set_length(const struct writer *writer, size_t where)
{
    size_t length = writer->at - where - 2;
    writer->out[where] = (char)(length >> 8);
    writer->out[where + 1] = (char)length;
}

/* False: there is no room for it, and nothing was written. */
static bool put_tlv(struct writer *writer, uint8_t type, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    if (length == 0)
        return true;
    if (!has_room(writer, PROXY_HEADER_TLV_HEAD + length))
        return false;
    put(writer, &type, 1);
    put_word(writer, length);
    put(writer, text, length);
    return true;
}

/* What is told of TLS, a TLV of TLVs. */
static void put_ssl(struct writer *writer, const struct proxy_header_identity *identity)
{
    const uint8_t head[] = {PROXY_HEADER_SSL,          0, 0, identity->client, 0, 0, 0,
                            identity->verified ? 0 : 1};
    size_t start = writer->at;
    if (identity->client == 0 || !has_room(writer, sizeof head))
        return;
    put(writer, head, sizeof head);
    (void)put_tlv(writer, PROXY_HEADER_SSL_VERSION, identity->tls_version);
    (void)put_tlv(writer, PROXY_HEADER_SSL_CIPHER, identity->tls_cipher);
    (void)put_tlv(writer, PROXY_HEADER_SSL_CN, identity->certificate_name);
    (void)put_tlv(writer, PROXY_HEADER_SSL_KEY, identity->key_algorithm);
    (void)put_tlv(writer, PROXY_HEADER_SSL_SIGNATURE, identity->signature_algorithm);
    set_length(writer, start + 1);
}

/* The bytes of an endpoint as an address of `family`; 4 or 16 of them. */
static size_t host_bytes(const struct proxy_header_endpoint *endpoint, uint8_t family,
                         uint8_t out[static 16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (family == PROXY_HEADER_IPV4) {
        memcpy(out, endpoint->bytes, 4);
        return 4;
    }
    if (endpoint->family == PROXY_HEADER_IPV6) {
        memcpy(out, endpoint->bytes, 16);
    } else {
        memcpy(out, mapped, sizeof mapped);
        memcpy(out + sizeof mapped, endpoint->bytes, 4);
    }
    return 16;
}

/* The one family in which both can be written. */
static uint8_t common_family(const struct proxy_header_identity *identity)
{
    uint8_t source = identity->source.family, destination = identity->destination.family;
    if (source == PROXY_HEADER_UNKNOWN || destination == PROXY_HEADER_UNKNOWN)
        return PROXY_HEADER_UNKNOWN;
    return source == destination ? source : PROXY_HEADER_IPV6;
}

static size_t write_v1(uint8_t family, const struct proxy_header_identity *identity, char *out,
                       size_t size)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    int af = family == PROXY_HEADER_IPV4 ? AF_INET : AF_INET6;
    host_bytes(&identity->source, family, bytes);
    if (!inet_ntop(af, bytes, source, sizeof source))
        return 0;
    host_bytes(&identity->destination, family, bytes);
    if (!inet_ntop(af, bytes, destination, sizeof destination))
        return 0;
    int length = snprintf(out, size, "PROXY %s %s %s %u %u\r\n",
                          family == PROXY_HEADER_IPV4 ? "TCP4" : "TCP6", source, destination,
                          identity->source.port, identity->destination.port);
    return length > 0 && (size_t)length < size ? (size_t)length : 0;
}

static void put_fixed(struct writer *writer, uint8_t command, uint8_t family)
{
    const uint8_t bytes[] = {command, family, 0, 0};
    put(writer, PROXY_HEADER_SIGNATURE, PROXY_HEADER_SIGNATURE_SIZE);
    put(writer, bytes, sizeof bytes);
}

static void put_addresses(struct writer *writer, uint8_t family,
                          const struct proxy_header_identity *identity)
{
    uint8_t bytes[16];
    put(writer, bytes, host_bytes(&identity->source, family, bytes));
    put(writer, bytes, host_bytes(&identity->destination, family, bytes));
    put_word(writer, identity->source.port);
    put_word(writer, identity->destination.port);
}

/* Room for the checksum was kept: it covers the whole header, with zeros in its own place. */
static void put_crc(struct writer *writer)
{
    const uint8_t tlv[] = {PROXY_HEADER_CRC32C, 0, PROXY_HEADER_CRC_SIZE, 0, 0, 0, 0};
    put(writer, tlv, sizeof tlv);
    set_length(writer, PROXY_HEADER_FIXED_SIZE - 2);
    uint32_t crc = proxy_header_crc32c(0, (const uint8_t *)writer->out, writer->at);
    writer->at -= PROXY_HEADER_CRC_SIZE;
    put_word(writer, crc >> 16);
    put_word(writer, crc & UINT16_MAX);
}

static size_t write_v2(uint8_t family, const struct proxy_header_identity *identity, char *out,
                       size_t size)
{
    const size_t crc = PROXY_HEADER_TLV_HEAD + PROXY_HEADER_CRC_SIZE;
    struct writer writer = {out, 0, size - crc};
    put_fixed(&writer, PROXY_HEADER_PROXY,
              family == PROXY_HEADER_IPV4 ? PROXY_HEADER_TCP4 : PROXY_HEADER_TCP6);
    put_addresses(&writer, family, identity);
    if (!put_tlv(&writer, PROXY_HEADER_LOGIN, identity->login))
        return 0;
    put_ssl(&writer, identity);
    (void)put_tlv(&writer, PROXY_HEADER_AUTHORITY, identity->authority);
    (void)put_tlv(&writer, PROXY_HEADER_ALPN, identity->alpn);
    (void)put_tlv(&writer, PROXY_HEADER_UNIQUE_ID, identity->unique_id);
    writer.size = size;
    put_crc(&writer);
    return writer.at;
}

size_t proxy_header_write(enum proxy_header_version version,
                          const struct proxy_header_identity *identity, char *out, size_t size)
{
    uint8_t family = common_family(identity);
    if (family == PROXY_HEADER_UNKNOWN || size < PROXY_HEADER_LEAST_SIZE)
        return 0;
    if (size > PROXY_HEADER_SIZE)
        size = PROXY_HEADER_SIZE;
    return version == PROXY_HEADER_V1 ? write_v1(family, identity, out, size)
                                      : write_v2(family, identity, out, size);
}

size_t proxy_header_write_local(enum proxy_header_version version, char *out, size_t size)
{
    static const char unknown[] = "PROXY UNKNOWN\r\n";
    struct writer writer = {out, 0, size};
    if (version == PROXY_HEADER_V1)
        put(&writer, unknown, sizeof unknown - 1);
    else
        put_fixed(&writer, PROXY_HEADER_LOCAL, 0);
    return writer.at;
}
