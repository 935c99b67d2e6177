/*
 * HAProxy's PROXY protocol, versions 1 and 2: what a proxy says of its client
 * before the first byte of the connection proper. Reading it from a load
 * balancer, writing it to a backend. Pure, no allocation.
 */
#ifndef POSTERN_SMTP_PROXY_HEADER_H
#define POSTERN_SMTP_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum proxy_header_family { PROXY_HEADER_UNKNOWN, PROXY_HEADER_IPV4, PROXY_HEADER_IPV6 };

struct proxy_header_endpoint {
    uint8_t family;    /* enum proxy_header_family */
    uint8_t bytes[16]; /* network order; of IPv4 the first four */
    uint16_t port;     /* host order */
};

/* The longest header that is read, with all of its TLVs. A longer one is PROXY_HEADER_BAD. */
#define PROXY_HEADER_READ_LIMIT 4096

enum proxy_header_status {
    PROXY_HEADER_MORE, /* `wanted` more bytes may be taken: none of them is behind the header */
    PROXY_HEADER_DONE, /* the header is the first `length` bytes */
    PROXY_HEADER_BAD,  /* no header, or a broken one: close the connection */
};

struct proxy_header {
    size_t wanted; /* PROXY_HEADER_MORE: at least 1 */
    size_t length; /* PROXY_HEADER_DONE */
    /*
     * Version 2's LOCAL, version 1's UNKNOWN and families other than TCP over IPv4 and IPv6
     * announce nobody: both are PROXY_HEADER_UNKNOWN, and the connection's own count. An IPv4
     * address that was written as IPv6 (::ffff:192.0.2.1) is PROXY_HEADER_IPV4.
     */
    struct proxy_header_endpoint source, destination;
};

/*
 * Reads the header at the start of `length` bytes; whatever follows it is not looked at.
 * Addresses and ports are read strictly, TLVs must fill what was announced, and a checksum must
 * be right if there is one.
 */
__attribute__((warn_unused_result)) enum proxy_header_status
proxy_header_read(const char *bytes, size_t length, struct proxy_header *out);

enum proxy_header_version { PROXY_HEADER_V1 = 1, PROXY_HEADER_V2 = 2 };

/* Types of version 2's TLVs. */
enum proxy_header_type {
    PROXY_HEADER_ALPN = 0x01,
    PROXY_HEADER_AUTHORITY = 0x02, /* the name that the client asked for (SNI) */
    PROXY_HEADER_CRC32C = 0x03,
    PROXY_HEADER_NOOP = 0x04,
    PROXY_HEADER_UNIQUE_ID = 0x05,
    PROXY_HEADER_SSL = 0x20,
    PROXY_HEADER_SSL_VERSION = 0x21,
    PROXY_HEADER_SSL_CN = 0x22,
    PROXY_HEADER_SSL_CIPHER = 0x23,
    PROXY_HEADER_SSL_SIGNATURE = 0x24,
    PROXY_HEADER_SSL_KEY = 0x25,
    PROXY_HEADER_LOGIN = 0xe0, /* ours, the first of those left to applications: the
                                  authenticated login, as it is */
};

/* Flags of PROXY_HEADER_SSL. */
enum proxy_header_client {
    PROXY_HEADER_CLIENT_SSL = 0x01,       /* the client came over TLS */
    PROXY_HEADER_CLIENT_CERT_CONN = 0x02, /* and showed a certificate on this connection */
    PROXY_HEADER_CLIENT_CERT_SESS = 0x04, /* or earlier in its TLS session */
};

/* Texts are NUL-terminated; NULL or empty: not told. Version 1 tells source and destination
 * alone. */
struct proxy_header_identity {
    struct proxy_header_endpoint source, destination;
    const char *login;
    uint8_t client; /* flags of enum proxy_header_client; 0: no PROXY_HEADER_SSL */
    bool verified;  /* its certificate was shown and is good */
    const char *tls_version, *tls_cipher;
    const char *certificate_name; /* its subject's common name */
    const char *key_algorithm, *signature_algorithm;
    const char *authority, *alpn, *unique_id;
};

/* A header goes out in one segment, whatever the path: at most so many bytes. */
#define PROXY_HEADER_SIZE 536
/* What the strictest reader (Exim 4.96) takes. */
#define PROXY_HEADER_SMALL_SIZE 232
/* The longest of version 1, and version 2's without any TLV, fit in this. */
#define PROXY_HEADER_LEAST_SIZE 128

/*
 * Writes a header into `out` (room for `size` bytes, from PROXY_HEADER_LEAST_SIZE to
 * PROXY_HEADER_SIZE) and returns its length. A text for which there is no room is left out.
 * Returns 0 if one of the endpoints is unknown, or version 2's login has no room: who the
 * client is cannot be told. Endpoints of different families are both written as IPv6.
 */
__attribute__((warn_unused_result)) size_t
proxy_header_write(enum proxy_header_version version,
                   const struct proxy_header_identity *identity, char *out, size_t size);

/* The header of a connection that nobody stands behind, for a health check. Never 0. */
__attribute__((warn_unused_result)) size_t
proxy_header_write_local(enum proxy_header_version version, char *out, size_t size);

#endif
