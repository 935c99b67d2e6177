/*
 * OpenSSL on a BIO of our own: handshakes, and everything in TLS 1.2. The BIO's read side takes
 * what the stream has received, and knows when the socket is empty without asking twice; its
 * write side gathers records in the stream's output, so that a whole flight is one send().
 * Never blocks, never calls the stream's owner.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/slab.h"
#include "tls/stream_internal.h"

/* Four records of TLS 1.2 in one recv(). */
#define BULK_READ_BYTES (64 * 1024 + 1024)

/* What OpenSSL may queue: some times what an owner writes before it stops. Answers to a mail
 * server that has us change keys and reads nothing come to no more. */
#define OUTPUT_LIMIT_BYTES ((size_t)4 * 1024 * 1024)

static int bio_write(BIO *bio, const char *bytes, int length)
{
    struct stream *stream = BIO_get_data(bio);
    if (length <= 0)
        return 0;
    if (stream->output.length + (size_t)length > OUTPUT_LIMIT_BYTES) {
        stream_fail(stream, "the other side reads nothing, and has too much said to it");
        return -1;
    }
    if (!buffer_append(&stream->output, bytes, (size_t)length)) {
        stream_fail(stream, "out of memory");
        return -1;
    }
    return length;
}

/* In a handshake OpenSSL is given exactly what it asks for: what follows may not be its own. */
static ssize_t fill_input(struct stream *stream)
{
    char *room = buffer_reserve(&stream->input, BUFFER_BLOCK_SIZE);
    if (!room) {
        stream_fail(stream, "out of memory");
        return -2;
    }
    ssize_t got = stream_receive(stream, room, BUFFER_BLOCK_SIZE);
    buffer_commit(&stream->input, got > 0 ? (size_t)got : 0);
    if (stream->input.length == 0)
        buffer_release(&stream->input);
    return got;
}

static ssize_t take_input(struct stream *stream, char *buffer, size_t size)
{
    size_t held = stream->input.length < size ? stream->input.length : size;
    memcpy(buffer, buffer_bytes(&stream->input), held);
    buffer_take(&stream->input, held);
    return (ssize_t)held;
}

static int bio_read(BIO *bio, char *buffer, int size)
{
    struct stream *stream = BIO_get_data(bio);
    ssize_t got = 1;
    BIO_clear_retry_flags(bio);
    if (size <= 0)
        return 0;

    if (stream->handshaking && stream->input.length == 0)
        got = fill_input(stream);
    if (stream->input.length > 0)
        got = take_input(stream, buffer, (size_t)size);
    else if (!stream->handshaking)
        got = stream_receive(stream, buffer, (size_t)size);
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

/* OpenSSL's object on the stream's BIO; NULL: no memory. */
static SSL *attach(struct stream *stream, SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);
    BIO *bio = ssl ? BIO_new(stream->loop->bio_method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        return NULL;
    }
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    stream->ssl = ssl;
    stream->tls = true;
    stream->loop->handshakes++;
    stream->handshaking = true;
    return ssl;
}

bool stream_secure(struct stream *stream, SSL_CTX *context)
{
    stream->secrets = calloc(1, sizeof *stream->secrets);
    SSL *ssl = stream->secrets ? attach(stream, context) : NULL;
    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}

/* An address is looked for among the certificate's addresses, and not asked for by SNI. */
static bool expect_name(SSL *ssl, const char *name)
{
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

bool stream_secure_client(struct stream *stream, SSL_CTX *context, const char *name)
{
    stream->client = true;
    SSL *ssl = attach(stream, context);
    if (!ssl || !expect_name(ssl, name))
        return false;
    SSL_set_connect_state(ssl);
    stream_offer_again(stream);
    return true;
}

void stream_speak_early(struct stream *stream, const char *words, size_t length)
{
    stream->early_words = words;
    stream->early_length = length;
}

bool stream_has_spoken(const struct stream *stream)
{
    return stream->spoken;
}

void stream_tls_free(struct stream *stream)
{
    stream_secrets_forget(stream);
    stream_records_free(stream);
    SSL_free(stream->ssl);
    tls_peer_free(stream->peer);
    slab_free_text(stream->server_name);
    buffer_release(&stream->input);
    buffer_wipe(&stream->opened);
    buffer_release(&stream->clear);
}

/* What went wrong inside OpenSSL or below it, as static text. */
static const char *tls_error(const struct stream *stream)
{
    if (stream->error)
        return stream->error;
    long verified = SSL_get_verify_result(stream->ssl);
    if (verified != X509_V_OK)
        return X509_verify_cert_error_string(verified);
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "TLS protocol error";
}

enum stream_status stream_end_input(struct stream *stream)
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
        return stream_end_input(stream);
    default:
        if (stream->end_of_input && ERR_peek_error() == 0)
            return stream_end_input(stream);
        stream_fail(stream, tls_error(stream));
        return STREAM_BROKEN;
    }
}

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

/*
 * TLS 1.3 goes on without OpenSSL's object. TLS 1.2 goes on with it, reading ahead, giving
 * buffers back and overwriting them from now on: in a handshake that would only cost time.
 */
static void end_handshake(struct stream *stream, size_t sent_from)
{
    SSL *ssl = stream->ssl;
    stream->handshaking = false;
    stream->version = SSL_get_version(ssl);
    stream->cipher = SSL_get_cipher_name(ssl);
    stream->resumed = SSL_session_reused(ssl);
    remember_peer(stream);
    remember_names(stream);
    bool ours = !stream->client && SSL_version(ssl) == TLS1_3_VERSION;
    if (ours && stream_records_take_over(stream, sent_from)) {
        stream->ssl = NULL;
        SSL_free(ssl);
    } else {
        SSL_set_read_ahead(ssl, 1);
        SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
        SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
    }
    stream_secrets_forget(stream);
}

/* Has our Finished gone out? TLS 1.3's server has the key of its application data then. */
static bool has_finished(const SSL *ssl)
{
    char unused[1];
    return SSL_get_finished(ssl, unused, sizeof unused) > 0;
}

/*
 * A server's first steps, up to its Finished: OpenSSL stops there for a client's early data,
 * which is never accepted here. Returns 1 when the handshake is to go on. OpenSSL stops after a
 * HelloRetryRequest as well, where it has no key yet and would write in plaintext; such a
 * client is greeted after the handshake. So is one of TLS 1.2.
 */
static int speak_early(struct stream *stream)
{
    size_t none = 0, written = 0;
    char unused[1];
    if (SSL_read_early_data(stream->ssl, unused, sizeof unused, &none) !=
        SSL_READ_EARLY_DATA_FINISH)
        return -1;
    if (SSL_version(stream->ssl) == TLS1_3_VERSION && !SSL_is_init_finished(stream->ssl) &&
        has_finished(stream->ssl))
        stream->spoken = SSL_write_early_data(stream->ssl, stream->early_words,
                                              stream->early_length, &written) == 1;
    stream->early_words = NULL;
    return 1;
}

static int take_steps(struct stream *stream)
{
    int result = stream->early_words ? speak_early(stream) : 1;
    return result == 1 ? SSL_do_handshake(stream->ssl) : result;
}

bool stream_tls_handshake(struct stream *stream)
{
    size_t sent_from = stream->output.length;
    ERR_clear_error();
    int result = take_steps(stream);
    if (result == 1) {
        end_handshake(stream, sent_from);
        return true;
    }
    if (tls_status(stream, result) == STREAM_EOF)
        stream_fail(stream, stream->client ? "the server left during the TLS handshake"
                                           : "the client left during the TLS handshake");
    return false;
}

bool stream_tls_has_input(const struct stream *stream)
{
    if (stream->records)
        return stream->input.length > 0 || stream->opened.length > 0;
    return SSL_has_pending(stream->ssl) || stream->input.length > 0;
}

enum stream_status stream_tls_read(struct stream *stream, char *buffer, size_t size,
                                   size_t *got)
{
    enum stream_status status = STREAM_OK;
    if (stream->records)
        return stream_records_read(stream, buffer, size, got);
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
                                  (status == STREAM_OK && stream_tls_has_input(stream)));
    return STREAM_OK;
}

void stream_tls_write(struct stream *stream)
{
    size_t written = 0, length = stream->clear.length;
    if (stream->handshaking || stream->failed)
        return;
    if (stream->records) {
        stream_records_write(stream);
        return;
    }
    ERR_clear_error();
    if (SSL_write_ex(stream->ssl, buffer_bytes(&stream->clear), length, &written) != 1 ||
        written != length)
        stream_fail(stream, tls_error(stream));
    buffer_release(&stream->clear);
}

void stream_tls_close_notify(struct stream *stream)
{
    if (!stream->tls || stream->handshaking || stream->failed)
        return;
    if (stream->clear.length > 0)
        stream_tls_write(stream);
    if (stream->records) {
        stream_records_close_notify(stream);
        return;
    }
    ERR_clear_error();
    SSL_shutdown(stream->ssl);
    ERR_clear_error();
}

void stream_expect_bulk(struct stream *stream)
{
    stream->bulk = true;
    if (!stream->ssl)
        return;
    SSL_clear_options(stream->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    SSL_set_default_read_buffer_len(stream->ssl, BULK_READ_BYTES);
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

bool stream_tls_in_kernel(const struct stream *stream)
{
    return stream->kernel;
}

bool stream_tls_resumed(const struct stream *stream)
{
    return stream->resumed;
}
