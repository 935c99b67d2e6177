/* TLS settings of a client: towards a backend, whose certificate is always verified. */
#ifndef POSTERN_TLS_CLIENT_CONTEXT_H
#define POSTERN_TLS_CLIENT_CONTEXT_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"

/*
 * TLS 1.2 and 1.3, no resumption. `ca` is a PEM file or a directory of those that are
 * believed, which may also be the backend's own certificate; NULL: the system's. A wildcard is
 * the whole of a label, and the subject's common name is no name (RFC 9525 section 2), unless
 * `common_name` is set and the certificate has no other name. Returns NULL, having logged why,
 * if the authorities cannot be read.
 */
MUST_USE SSL_CTX *tls_client_context_new(const char *ca, bool common_name);

#endif
