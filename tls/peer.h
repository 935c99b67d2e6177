/* What a client's verified certificate says of it: for AUTH EXTERNAL, logs and PROXY headers.
 */
#ifndef POSTERN_TLS_PEER_H
#define POSTERN_TLS_PEER_H

#include <openssl/ssl.h>

#include "proxy/base/compiler.h"

/* SHA-256 in hexadecimal, lower case, and its NUL. */
#define TLS_FINGERPRINT_SIZE 65

/* Texts are UTF-8 or ASCII without control characters; NULL: it has none, or one with those. */
struct tls_peer {
    char *common_name;
    char *email; /* the first of its alternative names, or else of its subject */
    char *dns;   /* the first of its alternative names */
    char fingerprint[TLS_FINGERPRINT_SIZE]; /* of the certificate's DER */
};

/* NULL: no memory. */
MUST_USE struct tls_peer *tls_peer_new(X509 *certificate);
/* NULL is allowed. */
void tls_peer_free(struct tls_peer *peer);

#endif
