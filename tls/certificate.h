/*
 * Reading a certificate and its key, and saying in words what is wrong with
 * them. Run by the master, at start, on reload and for `postern -n`.
 */
#ifndef POSTERN_TLS_CERTIFICATE_H
#define POSTERN_TLS_CERTIFICATE_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "tls/certificates.h"

/* Days before its end from which a certificate is worth a warning. */
#define TLS_CERTIFICATE_WARN_DAYS 14

/*
 * Loads the chain and the key into `context`. Returns false, having logged each fault as an
 * error with the file's name: missing, not PEM, key readable by others, key of another
 * certificate, both swapped, expired, not yet valid. A certificate that ends soon or does not
 * name `hostname` (NULL: any will do) is a warning.
 */
MUST_USE bool tls_certificate_load(SSL_CTX *context, const struct tls_certificate_files *files,
                                   const char *hostname);

#endif
