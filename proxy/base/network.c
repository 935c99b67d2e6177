/*
 * Networks that a configuration names, and who belongs to them. IPv4 is a part of IPv6 here, so
 * that there is one way to compare; "::/0" does not contain it all the same.
 */
#include "proxy/base/network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define V4_OFFSET_BITS 96u

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const uint8_t bytes[static 16])
{
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

static bool parse_host(const char *text, size_t length, uint8_t out[static 16])
{
    char host[INET6_ADDRSTRLEN];
    if (length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    memcpy(out, mapped, sizeof mapped);
    return inet_pton(AF_INET, host, out + sizeof mapped) == 1 ||
           inet_pton(AF_INET6, host, out) == 1;
}

/* The number behind the slash; 129: it is none. */
static unsigned parse_bits(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    unsigned bits = 0;
    if (digits == 0 || digits > 3 || text[digits] != '\0' || (digits > 1 && text[0] == '0'))
        return 129;
    for (size_t i = 0; i < digits; i++)
        bits = bits * 10 + (unsigned)(text[i] - '0');
    return bits;
}

/* The first `bits` of both are the same. */
static bool begins_alike(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool ends_in_zeros(const uint8_t bytes[static 16], unsigned bits)
{
    for (unsigned bit = bits; bit < 128; bit++)
        if (bytes[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    return true;
}

bool network_parse(const char *text, struct network *out, const char **why)
{
    size_t host = strcspn(text, "/");
    *why = "is not an address, or network in CIDR notation";
    if (!parse_host(text, host, out->bytes))
        return false;
    bool v4 = is_v4(out->bytes) && !memchr(text, ':', host);
    unsigned offset = v4 ? V4_OFFSET_BITS : 0;
    out->bits = 128;
    if (text[host] == '/')
        out->bits = parse_bits(text + host + 1) + offset;
    if (out->bits > 128)
        return false;
    *why = "has bits set behind its prefix";
    return ends_in_zeros(out->bytes, out->bits);
}

bool network_contains(const struct network *network, const struct address *address)
{
    struct address plain = *address;
    uint8_t bytes[16];
    address_normalise(&plain);
    if (plain.length == 0)
        return false;
    if (plain.any.sa_family == AF_INET) {
        memcpy(bytes, mapped, sizeof mapped);
        memcpy(bytes + sizeof mapped, &plain.v4.sin_addr, 4);
    } else if (plain.any.sa_family == AF_INET6) {
        memcpy(bytes, &plain.v6.sin6_addr, sizeof bytes);
    } else {
        return false;
    }
    return is_v4(bytes) == is_v4(network->bytes) &&
           begins_alike(bytes, network->bytes, network->bits);
}

/* One of IPv6 that is wider holds the other's, too. */
bool network_is_v4(const struct network *network)
{
    return is_v4(network->bytes) && network->bits >= V4_OFFSET_BITS;
}

bool networks_contain(const struct network *networks, size_t count,
                      const struct address *address)
{
    for (size_t i = 0; i < count; i++)
        if (network_contains(&networks[i], address))
            return true;
    return false;
}

unsigned network_prefix(const struct network *network)
{
    return network->bits - (network_is_v4(network) ? V4_OFFSET_BITS : 0);
}

void network_text(const struct network *network, char out[static NETWORK_TEXT_SIZE])
{
    bool v4 = network_is_v4(network);
    inet_ntop(v4 ? AF_INET : AF_INET6, network->bytes + (v4 ? sizeof mapped : 0), out,
              ADDRESS_HOST_SIZE);
    if (network->bits < 128)
        sprintf(out + strlen(out), "/%u", network_prefix(network) % 1000);
}
