/*
 * Certificate authorities that are believed, read whole: a reactor is in an
 * empty root, where nothing could be looked up in a directory later.
 */
#ifndef POSTERN_TLS_AUTHORITIES_H
#define POSTERN_TLS_AUTHORITIES_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"

/*
 * Adds those of a PEM file, or of all PEM files in a directory, to what `context` believes;
 * NULL: those that the system does. Returns false, having logged why, if there is not one.
 */
MUST_USE bool tls_authorities_load(SSL_CTX *context, const char *path);

/*
 * Adds the revocation lists of a PEM file, and has every certificate looked for in them. One
 * that has expired is told of: no certificate of its issuer is believed any more. Returns
 * false, having logged why, if there is not one.
 */
MUST_USE bool tls_revoked_load(SSL_CTX *context, const char *path);

#endif
