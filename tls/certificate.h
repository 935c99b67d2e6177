/*
 * Reading a certificate and its key, and saying in words what is wrong with
 * them. Run by the master, at start, on reload and for `postern -n`.
 */
#ifndef POSTERN_TLS_CERTIFICATE_H
#define POSTERN_TLS_CERTIFICATE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "tls/certificates.h"

/* Days before its end from which a certificate is worth a warning. */
#define TLS_CERTIFICATE_WARN_DAYS 14

/* The two files of a pair. */
enum tls_certificate_part { TLS_CERTIFICATE_CHAIN, TLS_CERTIFICATE_KEY };

/*
 * Returns what is wrong with a file that should have the part `wanted` and has only the other
 * one, in words that go after its path. NULL: it has the part, or neither, or cannot be read.
 */
MUST_USE const char *tls_certificate_swapped(const char *path,
                                             enum tls_certificate_part wanted);

/* The time at which a certificate is valid, in seconds since 1970. */
struct tls_certificate_dates {
    int64_t not_before, not_after;
};

/*
 * Loads the chain and the key into `context`. Returns false, having logged each fault as an
 * error with the file's name: missing, not PEM, both swapped, dates that cannot be read,
 * key readable by others, key of another certificate. *dates is set if the certificate could be
 * read, and zero otherwise. A certificate that does not name `hostname` (NULL: any will do) is
 * a warning. That today is outside its dates is no fault here.
 */
MUST_USE bool tls_certificate_load(SSL_CTX *context, const struct tls_certificate_files *files,
                                   const char *hostname, struct tls_certificate_dates *dates);

/* Is it valid at `now`, in seconds since 1970? */
bool tls_certificate_is_valid(const struct tls_certificate_dates *dates, int64_t now);

/*
 * Logs that the certificate has expired, is not valid yet, or ends within
 * TLS_CERTIFICATE_WARN_DAYS: as an error if `is_error` is set and it is not valid now, as a
 * warning otherwise.
 */
void tls_certificate_tell_dates(const char *path, const struct tls_certificate_dates *dates,
                                int64_t now, bool is_error);

#endif
