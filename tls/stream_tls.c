/*
 * OpenSSL on a stream: the handshake, reading, writing and the end. Used by stream.c. Between
 * OpenSSL and the socket stands stream_bio.c, or nothing where the kernel may do TLS
 * (stream_kernel.c). Never blocks, never calls the stream's owner.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls/stream_internal.h"

/* KeyUpdate messages keep the loop busy for nothing: so many in a row, and no more. OpenSSL has
 * the same limit for empty records. */
#define EMPTY_MESSAGES_LIMIT 32

/* Four records: more would leave the processor's cache before OpenSSL has opened all of it, as
 * it moves all that it has read ahead for each record. */
#define KERNEL_READ_BYTES (4 * STREAM_RECORD_SIZE)

/* OpenSSL's object on the stream's BIO; NULL: no memory. */
static SSL *attach(struct stream *stream, SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);
    BIO *bio = !ssl             ? NULL
               : stream->kernel ? stream_kernel_attach(stream, ssl)
                                : stream_bio_new(stream);
    if (!bio) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_bio(ssl, bio, bio);
    stream->ssl = ssl;
    stream->tls = true;
    stream->loop->handshakes++;
    stream->handshaking = true;
    return ssl;
}

bool stream_secure(struct stream *stream, SSL_CTX *context)
{
    stream->kernel = stream->loop->kernel;
    SSL *ssl = attach(stream, context);
    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}

/* An address is looked for among the certificate's addresses, and not asked for by SNI. */
static bool expect_name(SSL *ssl, const char *name)
{
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
    if (stream->loop->kernel) /* a write may be left half done there */
        return;
    stream->early_words = words;
    stream->early_length = length;
}

bool stream_has_spoken(const struct stream *stream)
{
    return stream->spoken;
}

void stream_tls_free(struct stream *stream)
{
    SSL_free(stream->ssl);
    stream_forget(stream);
    buffer_release(&stream->input);
    buffer_release(&stream->clear);
    buffer_release(&stream->sealing);
}

/* What went wrong inside OpenSSL or below it, as static text. */
static const char *tls_error(const struct stream *stream, int system_error)
{
    if (stream->error)
        return stream->error;
    if (stream->kernel && ERR_peek_error() == 0 && system_error != 0)
        return strerrordesc_np(system_error);
    long verified = SSL_get_verify_result(stream->ssl);
    if (verified != X509_V_OK)
        return X509_verify_cert_error_string(verified);
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

/* The other side hears OpenSSL's alert, whatever the owner does next. */
static enum stream_status fail_with_alert(struct stream *stream, int system_error)
{
    stream_fail(stream, tls_error(stream, system_error));
    stream_flush(stream);
    return STREAM_BROKEN;
}

enum stream_status stream_tls_status(struct stream *stream, int result)
{
    int system_error = errno;
    if (stream->failed)
        return STREAM_BROKEN;
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return STREAM_AGAIN;
    case SSL_ERROR_WANT_WRITE: /* stream_kernel.c only */
        event_add(&stream->writable, NULL);
        return STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return end_input(stream);
    default:
        if (stream->end_of_input && ERR_peek_error() == 0)
            return end_input(stream);
        return fail_with_alert(stream, system_error);
    }
}

/* What is no data is counted until data comes; after one message too many OpenSSL reads no
 * further. */
static void count_message(struct stream *stream)
{
    if (++stream->empty_messages <= EMPTY_MESSAGES_LIMIT)
        return;
    stream_fail(stream, "TLS messages without end");
    SSL_set_shutdown(stream->ssl, SSL_RECEIVED_SHUTDOWN);
}

/* Called for each message and record header. */
static void on_message(int sent, int version, int type, const void *bytes, size_t length,
                       SSL *ssl, void *argument)
{
    (void)version, (void)bytes, (void)length, (void)ssl;
    if (!sent && type == SSL3_RT_HANDSHAKE)
        count_message(argument);
}

static void empty_key(EVP_PKEY *key)
{
    (void)EVP_PKEY_set_type(key, EVP_PKEY_get_base_id(key));
    EVP_PKEY_free(key);
}

/* Both sides' shares of the key exchange: OpenSSL has no further use for them, but would keep
 * them, ours with its private part, to the session's end. */
static void forget_shares(SSL *ssl)
{
    EVP_PKEY *key = NULL;
    if (SSL_get_tmp_key(ssl, &key))
        empty_key(key);
    if (SSL_get_peer_tmp_key(ssl, &key))
        empty_key(key);
    ERR_clear_error();
}

/* OpenSSL reads ahead, gives buffers back and overwrites them from now on: in a handshake that
 * would only cost time. */
static void end_handshake(struct stream *stream)
{
    SSL *ssl = stream->ssl;
    stream->handshaking = false;
    stream_remember(stream);
    forget_shares(ssl);
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, stream);
    SSL_set_read_ahead(ssl, 1);
    SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
    if (stream->kernel)
        stream_kernel_begin(stream);
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
    if (stream->kernel &&
        stream->output.length > 0) /* plaintext that OpenSSL may not overtake */
        return false;
    ERR_clear_error();
    int result = take_steps(stream);
    if (result == 1) {
        end_handshake(stream);
        return true;
    }
    if (stream_tls_status(stream, result) == STREAM_EOF)
        stream_fail(stream, stream->client ? "the server left during the TLS handshake"
                                           : "the client left during the TLS handshake");
    return false;
}

bool stream_tls_has_input(const struct stream *stream)
{
    return SSL_has_pending(stream->ssl) || stream->input.length > 0;
}

/* Returns whether the reader has all that is there, or no room for what another recv() may
 * bring. Where the kernel decrypts, OpenSSL does not know. */
static bool is_drained(struct stream *stream, size_t got, size_t room)
{
    return got > 0 && (stream->socket_empty || room < STREAM_RECORD_SIZE) &&
           !SSL_has_pending(stream->ssl) && !stream_bio_has_record(stream) &&
           !stream_kernel_opens(stream);
}

/* Until the buffer is full, or there is nothing more. */
static enum stream_status read_some(struct stream *stream, char *buffer, size_t size,
                                    size_t *got)
{
    enum stream_status status = STREAM_OK;
    while (*got < size && status == STREAM_OK && !is_drained(stream, *got, size - *got)) {
        size_t piece = 0;
        int result = SSL_read_ex(stream->ssl, buffer + *got, size - *got, &piece);
        *got += piece;
        if (piece > 0)
            stream->empty_messages = 0;
        if (result != 1)
            status = stream_tls_status(stream, result);
        if (stream->kernel && stream_kernel_lacks_key(stream))
            status = STREAM_BROKEN;
    }
    return status;
}

/* Is there anything of which no event will tell? */
static bool has_more(struct stream *stream, enum stream_status status)
{
    if (stream->end_of_input || status == STREAM_EOF)
        return true;
    return status == STREAM_OK &&
           (SSL_has_pending(stream->ssl) || stream_bio_has_record(stream) ||
            stream_kernel_opens(stream));
}

enum stream_status stream_tls_read(struct stream *stream, char *buffer, size_t size,
                                   size_t *got)
{
    ERR_clear_error();
    if (!stream->kernel)
        stream_bio_begin(stream, size);
    enum stream_status status = read_some(stream, buffer, size, got);
    stream_input_left(stream, *got > 0 && has_more(stream, status));
    if (!stream->kernel)
        stream_bio_end(stream);
    return *got > 0 ? STREAM_OK : status;
}

void stream_tls_write(struct stream *stream)
{
    size_t written = 0, length = stream->clear.length;
    if (stream->handshaking || stream->failed)
        return;
    if (stream->kernel) {
        stream_kernel_write(stream);
        return;
    }
    ERR_clear_error();
    if (SSL_write_ex(stream->ssl, buffer_bytes(&stream->clear), length, &written) != 1 ||
        written != length)
        stream_fail(stream, tls_error(stream, 0));
    buffer_release(&stream->clear);
}

void stream_tls_close_notify(struct stream *stream)
{
    if (!stream->tls || stream->handshaking || stream->failed)
        return;
    stream->closing = stream->kernel;
    if (stream->clear.length > 0 || stream->kernel)
        stream_tls_write(stream);
    if (stream->kernel)
        return;
    ERR_clear_error();
    SSL_shutdown(stream->ssl);
    ERR_clear_error();
}

/* Of a socket that OpenSSL reads itself it reads several records at once, unless the kernel
 * gives it one by one. */
void stream_expect_bulk(struct stream *stream)
{
    if (!stream->ssl)
        return;
    SSL_clear_options(stream->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    if (stream->kernel && !stream_kernel_opens(stream))
        SSL_set_default_read_buffer_len(stream->ssl, KERNEL_READ_BYTES);
}
