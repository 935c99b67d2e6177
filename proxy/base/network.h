/* Networks in CIDR notation: "10.0.0.0/8", "2001:db8::/32", "192.0.2.1". Pure. */
#ifndef POSTERN_BASE_NETWORK_H
#define POSTERN_BASE_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

struct network {
    uint8_t bytes[16]; /* an IPv4 network is kept as ::ffff:a.b.c.d */
    unsigned bits;     /* of those, from 0 to 128 */
};

/*
 * Parses an address, and perhaps a slash and how many of its bits count. Returns false and sets
 * *why (a static phrase) if it is none, or if bits are set behind those that count.
 */
MUST_USE bool network_parse(const char *text, struct network *out, const char **why);

/* Is the address one of the network's? Never if it is no IP address. */
bool network_contains(const struct network *network, const struct address *address);
/* Is it an address of one of these? */
bool networks_contain(const struct network *networks, size_t count,
                      const struct address *address);

/* The bits as they are written behind the slash: from 0 to 32, or to 128. */
unsigned network_prefix(const struct network *network);
bool network_is_v4(const struct network *network);

/* An address, its slash and bits, and its NUL. */
#define NETWORK_TEXT_SIZE (ADDRESS_HOST_SIZE + 4)
/* What network_parse() would read: "192.0.2.1", or "192.0.2.0/24". */
void network_text(const struct network *network, char out[static NETWORK_TEXT_SIZE]);

#endif
