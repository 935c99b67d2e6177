/*
 * A server's TLS settings (an SSL_CTX), made from the configuration once for
 * each listener: TLS 1.2 and 1.3, no renegotiation, no compression, stateless
 * tickets, and no ALPN but "smtp" (threat 18).
 */
#ifndef POSTERN_TLS_CONTEXT_H
#define POSTERN_TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

struct tls_settings {
    const char *certificate, *key;
    const char *minimum;      /* "1.2" or "1.3" */
    const char *ciphers;      /* TLS 1.2, OpenSSL's syntax */
    const char *ciphersuites; /* TLS 1.3 */
    const char *groups;
    bool tickets;
    const char *hostname; /* what the certificate should name */
    const char *listener; /* a session is resumed only on the listener of its own name */
};

/*
 * NULL, having logged why, if the settings or the certificate cannot be used. With a `model`,
 * which was made from the same files, certificate and key are taken from it instead of being
 * read again. SSL_CTX_free() it.
 */
MUST_USE SSL_CTX *tls_context_new(const struct tls_settings *settings, SSL_CTX *model);

#define TLS_TICKET_SECRET_SIZE 32
#define TLS_TICKET_PERIOD_S    (12 * 3600)

/*
 * Sets the keys that tickets are made with, which follow from the secret and the number of the
 * period (time / TLS_TICKET_PERIOD_S): processes that share the secret agree without talking,
 * and a key is gone one period later. Returns false if OpenSSL fails.
 */
MUST_USE bool tls_context_set_ticket_period(SSL_CTX *context,
                                            const uint8_t secret[static TLS_TICKET_SECRET_SIZE],
                                            uint64_t period);

#endif
