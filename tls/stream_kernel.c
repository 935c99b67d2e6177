/*
 * A stream for which the kernel may encrypt and decrypt (SSL_OP_ENABLE_KTLS): OpenSSL asks the
 * kernel in the handshake, on a socket that OpenSSL reads and writes itself, and does what the
 * kernel refuses. Used by stream_tls.c and stream_finish.c if the postmaster wants it. Unlike
 * elsewhere the socket may take half a write; OpenSSL then keeps a pointer to what it was
 * given, which therefore stays in place until all of it is written.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "tls/stream_internal.h"

/* A socket that is not connected is refused for that, where the kernel has the layer. */
bool stream_kernel_available(void)
{
    static const char layer[] = "tls";
#ifdef OPENSSL_NO_KTLS
    return false;
#endif
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool available =
        setsockopt(fd, IPPROTO_TCP, TCP_ULP, layer, sizeof layer) == 0 || errno == ENOTCONN;
    close(fd);
    return available;
}

/* Called around each call of OpenSSL's. The kernel keeps its error about a record for the
 * socket's next call, which is to carry OpenSSL's alert. */
static long forget_error(BIO *bio, int operation, const char *bytes, size_t length,
                         int argument, long number, int result, size_t *processed)
{
    (void)bytes, (void)length, (void)argument, (void)number, (void)processed;
    int error = errno, forgotten;
    socklen_t size = sizeof forgotten;
    if (operation == (BIO_CB_READ | BIO_CB_RETURN) && result <= 0 && error != EAGAIN)
        (void)getsockopt((int)BIO_get_fd(bio, NULL), SOL_SOCKET, SO_ERROR, &forgotten, &size);
    errno = error;
    return result;
}

BIO *stream_kernel_attach(struct stream *stream, SSL *ssl)
{
    BIO *bio = BIO_new_socket(stream->fd, BIO_NOCLOSE);
    if (!bio)
        return NULL;
    SSL_set_options(ssl, SSL_OP_ENABLE_KTLS);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    BIO_set_callback_ex(bio, forget_error);
    return bio;
}

static bool seals(const struct stream *stream)
{
    return BIO_get_ktls_send(SSL_get_wbio(stream->ssl));
}

bool stream_kernel_opens(const struct stream *stream)
{
    return stream->kernel && BIO_get_ktls_recv(SSL_get_rbio(stream->ssl));
}

bool stream_tls_in_kernel(const struct stream *stream)
{
    return stream->kernel && stream->ssl && (seals(stream) || stream_kernel_opens(stream));
}

/* Told once: what holds for one session mostly holds for all. */
static void tell_refusal(struct stream_loop *loop, const char *cipher)
{
    if (!loop->kernel_refusal_told)
        log_warning("the kernel does no TLS for a session with %s: OpenSSL does it", cipher);
    loop->kernel_refusal_told = true;
}

/* Takes it out of the loop; true: it was in there. */
static bool watch_changes(struct event *event)
{
    bool pending = event_pending(event, EV_READ | EV_WRITE, NULL);
    event_del(event);
    event_assign(event, event_get_base(event), event_get_fd(event),
                 (short)(event_get_events(event) | EV_ET), event_get_callback(event),
                 event_get_callback_arg(event));
    return pending;
}

/*
 * From now on the loop hears of what changes on the socket, not of what is there: before Linux
 * 6.6 half a record is there, too, and nobody can read it. So the reader goes on until nothing
 * is left, or is offered what it has left. A descriptor has all its events of one kind.
 */
static void watch_socket(struct stream *stream)
{
    bool reads = watch_changes(&stream->readable), writes = watch_changes(&stream->writable);
    if (reads)
        event_add(&stream->readable, NULL);
    if (writes)
        event_add(&stream->writable, NULL);
}

void stream_kernel_begin(struct stream *stream)
{
    if (stream_kernel_opens(stream))
        watch_socket(stream);
    if (!stream_tls_in_kernel(stream))
        tell_refusal(stream->loop, stream->cipher);
}

/* What OpenSSL has is written to its end before it gets more. False: there is nothing. */
static bool next_piece(struct stream *stream)
{
    if (stream->sealing.length == 0) {
        stream->sealing = stream->clear;
        stream->clear = BUFFER_EMPTY;
    }
    return stream->sealing.length > 0;
}

static void close_at_last(struct stream *stream)
{
    int result = SSL_shutdown(stream->ssl);
    stream->closing = result < 0 && SSL_get_error(stream->ssl, result) == SSL_ERROR_WANT_WRITE;
    if (stream->closing)
        event_add(&stream->writable, NULL);
    ERR_clear_error();
}

void stream_kernel_write(struct stream *stream)
{
    ERR_clear_error();
    while (!stream->failed && next_piece(stream)) {
        size_t written = 0;
        int result = SSL_write_ex(stream->ssl, buffer_bytes(&stream->sealing),
                                  stream->sealing.length, &written);
        if (result != 1) {
            (void)stream_tls_status(stream, result);
            return;
        }
        buffer_take(&stream->sealing, written);
    }
    if (stream->closing && !stream->failed)
        close_at_last(stream);
}

/*
 * OpenSSL answers a KeyUpdate message under a new key, of which the kernel knows nothing: it
 * would go on with the old one. OpenSSL answers with the next thing that is written, and so the
 * stream ends before that.
 */
bool stream_kernel_lacks_key(struct stream *stream)
{
    if (SSL_get_key_update_type(stream->ssl) == SSL_KEY_UPDATE_NONE || !seals(stream))
        return false;
    stream_fail(stream, "the kernel cannot change a TLS key");
    return true;
}
