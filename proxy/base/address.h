/*
 * Socket addresses: parsing what a postmaster writes, and writing what logs,
 * PAM and XCLIENT want to read. Pure, no look-ups.
 */
#ifndef POSTERN_BASE_ADDRESS_H
#define POSTERN_BASE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proxy/base/compiler.h"

struct address {
    socklen_t length; /* bytes of `any` in use; 0: no address */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    };
};

/* "ffff:…:255.255.255.255" and its NUL. */
#define ADDRESS_HOST_SIZE 46
/* "[host]:65535" or "unix:/path" and its NUL. */
#define ADDRESS_TEXT_SIZE 120

/*
 * Parses "192.0.2.1:25", "[2001:db8::1]:25", "*:25", "unix:/path" or "localhost:25" (127.0.0.1;
 * no other name is looked up). "*" becomes [::], which also takes IPv4. Returns false and sets
 * *why (a static phrase) if it is none of these.
 */
MUST_USE bool address_parse(const char *text, struct address *out, const char **why);

/* An IPv4 address in IPv6 clothes (::ffff:192.0.2.1) becomes plain IPv4; others stay. */
void address_normalise(struct address *address);

/* Write the normalised address of this end of a connected socket, and of the other. False:
 * errno, and *out is all zeros. */
MUST_USE bool address_of_own_end(int fd, struct address *out);
MUST_USE bool address_of_peer(int fd, struct address *out);

/* "192.0.2.1", "2001:db8::1" or "local": writes at most ADDRESS_HOST_SIZE bytes. */
void address_host(const struct address *address, char out[static ADDRESS_HOST_SIZE]);

/* "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path". */
void address_text(const struct address *address, char out[static ADDRESS_TEXT_SIZE]);

/* Host order; 0 for a unix socket. */
uint16_t address_port(const struct address *address);

/* The same host and port (or path). */
bool address_equal(const struct address *a, const struct address *b);

/* Is it one by which a host reaches itself: 127.0.0.0/8, ::1, or such an IPv4 address within an
 * IPv6 one? False for a unix socket. */
bool address_is_loopback(const struct address *address);
/* Is it the address that names no host: 0.0.0.0 or ::? */
bool address_is_any(const struct address *address);

/*
 * What counts as one client for limits: the IPv4 address, or the first 64 bits of an IPv6
 * address. Two addresses with the same key are the same client.
 */
struct address_key {
    uint64_t high, low;
};
struct address_key address_key(const struct address *address);
bool address_key_equal(const struct address_key *one, const struct address_key *other);

#endif
