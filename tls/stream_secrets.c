/*
 * The secrets of a handshake in TLS 1.3, as OpenSSL tells them to an application, for
 * stream_records.c. They are kept until the handshake has ended.
 */
#include <stdlib.h>
#include <string.h>

#include "tls/stream_internal.h"

static uint8_t hex_digit(char digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10);
}

/* OpenSSL's own digits, two for each byte. */
static void read_hex(const char *text, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
}

/* "LABEL client-random secret": OpenSSL tells an application its secrets in this form only. */
static void on_secret(const SSL *ssl, const char *line)
{
    static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ",
                      server[] = "SERVER_TRAFFIC_SECRET_0 ";
    struct stream *stream = BIO_get_data(SSL_get_rbio(ssl));
    struct stream_secrets *secrets = stream->secrets;
    const char *secret = strrchr(line, ' ');
    if (!secrets || !secret)
        return;
    size_t size = strlen(++secret) / 2;
    if (size > TLS_SECRET_LIMIT)
        return;
    if (strncmp(line, client, sizeof client - 1) == 0) {
        read_hex(secret, secrets->client, size);
        secrets->has_client = true;
    } else if (strncmp(line, server, sizeof server - 1) == 0) {
        read_hex(secret, secrets->server, size);
        secrets->has_server = true;
    }
}

/*
 * Of the five secrets of a handshake in TLS 1.3 the first two are of no use here, and of TLS
 * 1.2's none; OpenSSL writes each out digit by digit. What is wanted comes behind the encrypted
 * extensions.
 */
static bool wants_secrets(const SSL *ssl)
{
    switch (SSL_get_state(ssl)) {
    case TLS_ST_BEFORE:
    case TLS_ST_SR_CLNT_HELLO:
    case TLS_ST_SW_SRVR_HELLO:
    case TLS_ST_SW_CHANGE:
        return false;
    default:
        return SSL_version(ssl) == TLS1_3_VERSION;
    }
}

/* Comes before each step of a handshake. */
static void on_progress(const SSL *ssl, int where, int value)
{
    (void)value;
    if (where & SSL_CB_LOOP)
        SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl),
                                    wants_secrets(ssl) ? on_secret : NULL);
}

void stream_prepare_context(SSL_CTX *context)
{
    SSL_CTX_set_info_callback(context, on_progress);
}

void stream_secrets_forget(struct stream *stream)
{
    if (!stream->secrets)
        return;
    explicit_bzero(stream->secrets, sizeof *stream->secrets);
    free(stream->secrets);
    stream->secrets = NULL;
}
