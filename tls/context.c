/*
 * SSL_CTX from settings. Made by the master, which reads the key, and inherited by the
 * reactors; nothing in here knows a connection.
 */
#include "tls/context.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"
#include "tls/authorities.h"

/* What SSL_CTX_set_tlsext_ticket_keys() takes: name, MAC key, cipher key. */
#define TICKET_KEYS_SIZE 80

static const char *last_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "unknown error";
}

/* Threat 18: a client that names protocols and not this one came to the wrong door. */
static int select_smtp(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                       const unsigned char *offered, unsigned offered_length, void *context)
{
    static const unsigned char smtp[] = {4, 's', 'm', 't', 'p'};
    (void)ssl, (void)context;

    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_length, smtp, sizeof smtp, offered,
                              offered_length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_algorithms(SSL_CTX *context, const struct tls_settings *settings)
{
    const struct {
        const char *place, *value;
        bool accepted;
    } checks[] = {
        {settings->places.ciphers, settings->ciphers,
         SSL_CTX_set_cipher_list(context, settings->ciphers) == 1},
        {settings->places.ciphersuites, settings->ciphersuites,
         SSL_CTX_set_ciphersuites(context, settings->ciphersuites) == 1},
        {settings->places.groups, settings->groups,
         SSL_CTX_set1_groups_list(context, settings->groups) == 1},
    };
    bool good = true;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (checks[i].accepted)
            continue;
        log_set_subject(checks[i].place);
        log_error("OpenSSL does not accept \"%s\"", checks[i].value);
        log_set_subject(NULL);
        good = false;
    }
    return good;
}

static void set_options(SSL_CTX *context, const struct tls_settings *settings)
{
    uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                       SSL_OP_IGNORE_UNEXPECTED_EOF;
    bool tickets =
        settings->tickets && settings->client_certificates == TLS_CLIENT_CERTIFICATES_OFF;
    if (!tickets)
        options |= SSL_OP_NO_TICKET;
    SSL_CTX_set_options(context, options);

    /* The file has the chain: OpenSSL need not look for one, by verifying, in each handshake.
     */
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, tickets ? 1 : 0);
    SSL_CTX_set_alpn_select_cb(context, select_smtp, NULL);
}

/* A digest, as listeners' names may be longer than OpenSSL's 32 bytes. */
static bool set_session_context(SSL_CTX *context, const char *listener)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    return EVP_Digest(listener, strlen(listener), digest, &length, EVP_sha256(), NULL) == 1 &&
           SSL_CTX_set_session_id_context(context, digest, length) == 1;
}

static int version_of(const char *text)
{
    static const struct {
        const char *text;
        int version;
    } versions[] = {{"1.0", TLS1_VERSION}, {"1.1", TLS1_1_VERSION}, {"1.3", TLS1_3_VERSION}};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (strcmp(text, versions[i].text) == 0)
            return versions[i].version;
    return TLS1_2_VERSION;
}

/*
 * What devices of the last century speak: SHA-1 in handshakes, CBC, key exchange by RSA, and
 * DHE. That comes last: Java 6 and 7 offer it, and fail with a group of more than 1024 bits.
 */
static bool allow_old(SSL_CTX *context, const struct tls_settings *settings)
{
    static const char old[] = "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:"
                              "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:"
                              "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
                              "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
                              "AES128-GCM-SHA256:AES256-GCM-SHA384:"
                              "AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:"
                              "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:"
                              "DHE-RSA-CHACHA20-POLY1305:"
                              "DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:"
                              "DHE-RSA-AES128-SHA:DHE-RSA-AES256-SHA";
    char *ciphers = NULL;
    if (asprintf(&ciphers, "%s:%s", settings->ciphers, old) < 0)
        return false;
    SSL_CTX_set_security_level(context, 0);
    bool good = SSL_CTX_set_cipher_list(context, ciphers) == 1;
    free(ciphers);
    return good;
}

/* Clients are told whose certificates are wanted, if a file says it: they may have several. */
static bool load_authorities(SSL_CTX *context, const char *ca)
{
    if (!tls_authorities_load(context, ca))
        return false;
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(ca));
    ERR_clear_error();
    return true;
}

/* The verdict stays with the session; who asks for it is stream_tls.c. */
static int pass_on(int good, X509_STORE_CTX *verification)
{
    (void)good, (void)verification;
    return 1;
}

static bool ask_for_certificates(SSL_CTX *context, const struct tls_settings *settings)
{
    if (settings->client_certificates == TLS_CLIENT_CERTIFICATES_OFF)
        return true;
    log_set_subject(settings->places.client_ca);
    bool good = load_authorities(context, settings->client_ca);
    log_set_subject(settings->places.client_crl);
    good = good && (!*settings->client_crl || tls_revoked_load(context, settings->client_crl));
    log_set_subject(NULL);
    if (!good)
        return false;
    if (settings->client_certificates == TLS_CLIENT_CERTIFICATES_REQUIRE)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    else
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, pass_on);
    return true;
}

static bool set_up(SSL_CTX *context, const struct tls_settings *settings,
                   const struct tls_certificates *certificates)
{
    int minimum = version_of(settings->minimum);

    set_options(context, settings);
    if (!set_algorithms(context, settings) || !ask_for_certificates(context, settings))
        return false;
    /* The group of DHE is as strong as the certificate's key. */
    if (SSL_CTX_set_dh_auto(context, 1) != 1 ||
        (minimum < TLS1_2_VERSION && !allow_old(context, settings)) ||
        SSL_CTX_set_min_proto_version(context, minimum) != 1 ||
        !set_session_context(context, settings->listener) ||
        !tls_certificates_use(certificates, context)) {
        log_error("tls: OpenSSL refuses the settings: %s", last_reason());
        return false;
    }
    return true;
}

SSL_CTX *tls_context_new(const struct tls_settings *settings,
                         const struct tls_certificates *certificates)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) {
        log_error("tls: OpenSSL cannot start: %s", last_reason());
        return NULL;
    }
    if (!set_up(context, settings, certificates)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

bool tls_context_set_ticket_period(SSL_CTX *context,
                                   const uint8_t secret[static TLS_TICKET_SECRET_SIZE],
                                   uint64_t period)
{
    uint8_t keys[2 * EVP_MAX_MD_SIZE];
    bool good = true;
    for (uint8_t half = 0; half < 2; half++) {
        uint8_t label[sizeof period + 1];
        memcpy(label, &period, sizeof period);
        label[sizeof period] = half;
        good = good && HMAC(EVP_sha512(), secret, TLS_TICKET_SECRET_SIZE, label, sizeof label,
                            keys + half * EVP_MAX_MD_SIZE, NULL);
    }
    good = good && SSL_CTX_set_tlsext_ticket_keys(context, keys, TICKET_KEYS_SIZE) == 1;
    explicit_bzero(keys, sizeof keys);
    return good;
}
