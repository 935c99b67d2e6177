/*
 * What a handshake has told of the other side and agreed on. Noted by stream_tls.c at its end,
 * asked by the stream's owner for as long as the stream lives.
 */
#include <string.h>

#include "proxy/base/slab.h"
#include "tls/stream_internal.h"

/* An unverified certificate is none; that it was shown is worth a word. */
static void remember_peer(struct stream *stream)
{
    X509 *certificate = SSL_get0_peer_certificate(stream->ssl);
    long verified = SSL_get_verify_result(stream->ssl);
    if (stream->client || !certificate)
        return;
    if (verified == X509_V_OK)
        stream->peer = tls_peer_new(certificate);
    else
        stream->peer_fault = X509_verify_cert_error_string(verified);
}

static void remember_names(struct stream *stream)
{
    const unsigned char *alpn = NULL;
    unsigned length = 0;
    SSL_get0_alpn_selected(stream->ssl, &alpn, &length);
    stream->alpn = length > 0;
    if (!stream->loop->keeps_names)
        return;
    const char *name = SSL_get_servername(stream->ssl, TLSEXT_NAMETYPE_host_name);
    stream->server_name = name ? slab_text(name, strlen(name)) : NULL;
}

void stream_remember(struct stream *stream)
{
    stream->version = SSL_get_version(stream->ssl);
    stream->cipher = SSL_get_cipher_name(stream->ssl);
    stream->resumed = SSL_session_reused(stream->ssl);
    remember_peer(stream);
    remember_names(stream);
}

void stream_forget(struct stream *stream)
{
    tls_peer_free(stream->peer);
    slab_free_text(stream->server_name);
}

bool stream_is_secure(const struct stream *stream)
{
    return stream->tls && !stream->handshaking;
}

const char *stream_tls_version(const struct stream *stream)
{
    return stream->version;
}

const char *stream_tls_cipher(const struct stream *stream)
{
    return stream->cipher;
}

const struct tls_peer *stream_peer(const struct stream *stream)
{
    return stream->peer;
}

const char *stream_peer_fault(const struct stream *stream)
{
    return stream->peer_fault;
}

const char *stream_server_name(const struct stream *stream)
{
    return stream->server_name;
}

bool stream_alpn(const struct stream *stream)
{
    return stream->alpn;
}

bool stream_tls_resumed(const struct stream *stream)
{
    return stream->resumed;
}
