/*
 * The certificates of a server, and which of them a client gets: the one whose
 * name it asks for (SNI, RFC 6066 section 3), or the first. Certificates with
 * different kinds of keys for that name stand side by side, and OpenSSL takes
 * the one that the client can verify. Read once, shared by all listeners.
 */
#ifndef POSTERN_TLS_CERTIFICATES_H
#define POSTERN_TLS_CERTIFICATES_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

struct tls_certificates;

/* PEM files: the certificate and then its chain; the key, unencrypted. */
struct tls_certificate_files {
    const char *certificate, *key;
    const char *certificate_place, *key_place; /* in the configuration, for messages; or NULL */
};

/*
 * Reads them all; the first is for clients that ask for no name, or for one that no certificate
 * has, and should name `hostname`. Returns NULL, having logged every fault with its file, if
 * the first cannot be used. A fault of another is logged as an error, and clients do not get
 * that one: see tls_certificates_usable(). Dates are looked at in each handshake.
 */
MUST_USE struct tls_certificates *
tls_certificates_new(const struct tls_certificate_files *files, size_t count,
                     const char *hostname);
/* Contexts that use them must be gone. NULL is allowed. */
void tls_certificates_free(struct tls_certificates *certificates);

/* How many there are, usable or not, and of each its file and its last second (since 1970; 0:
 * not known). */
size_t tls_certificates_count(const struct tls_certificates *certificates);
const char *tls_certificates_file(const struct tls_certificates *certificates, size_t index);
int64_t tls_certificates_not_after(const struct tls_certificates *certificates, size_t index);

/*
 * Do clients get it at `now` (seconds since 1970) if they ask for its names? The first is
 * always given: clients decide about its dates. Another one is given if it could be read, has
 * its key, and is valid; or if the first is not valid either, as then the clock may be wrong,
 * and the first is no better.
 */
bool tls_certificates_usable(const struct tls_certificates *certificates, size_t index,
                             int64_t now);

/* Gives a context the first ones, and has it choose by name from now on. */
MUST_USE bool tls_certificates_use(const struct tls_certificates *certificates,
                                   SSL_CTX *context);

#endif
