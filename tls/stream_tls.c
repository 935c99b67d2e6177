/*
 * The TLS half of a stream: OpenSSL on a BIO of our own. Its read side is recv() with OpenSSL's
 * read-ahead, and knows when the socket is empty without asking twice; its write side gathers
 * records in the stream's output, so that a whole flight is one send(). Never blocks, never
 * calls the stream's owner.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <string.h>

#include "tls/stream_internal.h"

/* Four records of TLS in one recv(). */
#define BULK_READ_BYTES (64 * 1024 + 1024)

static int bio_write(BIO *bio, const char *bytes, int length)
{
    struct stream *stream = BIO_get_data(bio);
    if (length <= 0)
        return 0;
    if (!buffer_append(&stream->output, bytes, (size_t)length)) {
        stream_fail(stream, "out of memory");
        return -1;
    }
    return length;
}

static int bio_read(BIO *bio, char *buffer, int size)
{
    struct stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0)
        return 0;

    ssize_t got = stream_receive(stream, buffer, (size_t)size);
    if (got == -1)
        BIO_set_retry_read(bio);
    return got < 0 ? -1 : (int)got;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    const struct stream *stream = BIO_get_data(bio);
    (void)number, (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return stream->end_of_input;
    default:
        return 0;
    }
}

BIO_METHOD *stream_tls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (!method)
        return NULL;
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_control);
    return method;
}

bool stream_secure(struct stream *stream, SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);
    BIO *bio = ssl ? BIO_new(stream->loop->bio_method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        return false;
    }
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    stream->ssl = ssl;
    stream->handshaking = true;
    return true;
}

/* What went wrong inside OpenSSL or below it, as static text. */
static const char *tls_error(const struct stream *stream)
{
    if (stream->error)
        return stream->error;
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "TLS protocol error";
}

static enum stream_status end_input(struct stream *stream)
{
    stream->end_of_input = true;
    event_del(&stream->readable);
    return STREAM_EOF;
}

/* After a call that did not succeed: nothing now, end, or failure. */
static enum stream_status tls_status(struct stream *stream, int result)
{
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return end_input(stream);
    default:
        if (stream->end_of_input && ERR_peek_error() == 0)
            return end_input(stream);
        stream_fail(stream, tls_error(stream));
        return STREAM_BROKEN;
    }
}

bool stream_tls_handshake(struct stream *stream)
{
    ERR_clear_error();
    int result = SSL_do_handshake(stream->ssl);
    if (result == 1) {
        stream->handshaking = false;
        return true;
    }
    if (tls_status(stream, result) == STREAM_EOF)
        stream_fail(stream, "the client left during the TLS handshake");
    return false;
}

enum stream_status stream_tls_read(struct stream *stream, char *buffer, size_t size,
                                   size_t *got)
{
    enum stream_status status = STREAM_OK;
    ERR_clear_error();
    while (*got < size && status == STREAM_OK) {
        size_t piece = 0;
        int result = SSL_read_ex(stream->ssl, buffer + *got, size - *got, &piece);
        *got += piece;
        if (result != 1)
            status = tls_status(stream, result);
    }
    if (*got == 0) {
        stream_input_left(stream, false);
        return status;
    }
    stream_input_left(stream, status == STREAM_EOF ||
                                  (status == STREAM_OK && SSL_has_pending(stream->ssl)));
    return STREAM_OK;
}

void stream_tls_write(struct stream *stream)
{
    size_t written = 0, length = stream->clear.length;
    if (stream->handshaking || stream->failed)
        return;
    ERR_clear_error();
    if (SSL_write_ex(stream->ssl, buffer_bytes(&stream->clear), length, &written) != 1 ||
        written != length)
        stream_fail(stream, tls_error(stream));
    buffer_release(&stream->clear);
}

void stream_tls_close_notify(struct stream *stream)
{
    if (!stream->ssl || stream->handshaking || stream->failed)
        return;
    if (stream->clear.length > 0)
        stream_tls_write(stream);
    ERR_clear_error();
    SSL_shutdown(stream->ssl);
    ERR_clear_error();
}

void stream_expect_bulk(struct stream *stream)
{
    if (!stream->ssl)
        return;
    SSL_clear_options(stream->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    SSL_set_default_read_buffer_len(stream->ssl, BULK_READ_BYTES);
}

bool stream_is_secure(const struct stream *stream)
{
    return stream->ssl && !stream->handshaking;
}

const char *stream_tls_version(const struct stream *stream)
{
    return stream_is_secure(stream) ? SSL_get_version(stream->ssl) : NULL;
}

const char *stream_tls_cipher(const struct stream *stream)
{
    return stream_is_secure(stream) ? SSL_get_cipher_name(stream->ssl) : NULL;
}

bool stream_tls_resumed(const struct stream *stream)
{
    return stream_is_secure(stream) && SSL_session_reused(stream->ssl);
}
