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
#include "tls/certificates.h"

enum tls_client_certificates {
    TLS_CLIENT_CERTIFICATES_OFF,
    TLS_CLIENT_CERTIFICATES_REQUEST, /* one that cannot be verified counts as none */
    TLS_CLIENT_CERTIFICATES_REQUIRE, /* no handshake without a verified one */
};

/* Where the settings stand in the configuration, to begin messages with; or NULL. */
struct tls_settings_places {
    const char *ciphers, *ciphersuites, *groups, *client_ca, *client_crl;
};

struct tls_settings {
    const char *minimum;      /* "1.0" to "1.3"; below 1.2 OpenSSL's security level is 0 */
    const char *ciphers;      /* TLS 1.2, OpenSSL's syntax */
    const char *ciphersuites; /* TLS 1.3 */
    const char *groups;
    bool tickets;
    const char *listener; /* a session is resumed only on the listener of its own name */
    enum tls_client_certificates client_certificates;
    const char *client_ca;  /* file or directory of authorities */
    const char *client_crl; /* file of revocation lists, one for each of them; empty: none */
    struct tls_settings_places places;
};

/*
 * NULL, having logged why, if the settings cannot be used. Where client certificates are asked
 * for no session is resumed, so that each is looked at. SSL_CTX_free() it; the certificates
 * must outlive it.
 */
MUST_USE SSL_CTX *tls_context_new(const struct tls_settings *settings,
                                  const struct tls_certificates *certificates);

#define TLS_TICKET_SECRET_SIZE 32
#define TLS_TICKET_PERIOD_S    (12 * 3600)

/*
 * Sets the keys that tickets are made with, in place of those before. They follow from the
 * secret and the number of the period (time / TLS_TICKET_PERIOD_S), so that processes and
 * machines with the same secret agree. A file's secret makes the keys of all
 * periods; ticket_periods.h has one for each period. Returns false if OpenSSL fails.
 */
MUST_USE bool tls_context_set_ticket_period(SSL_CTX *context,
                                            const uint8_t secret[static TLS_TICKET_SECRET_SIZE],
                                            uint64_t period);

#endif
