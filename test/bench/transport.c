/*
 * The socket and the TLS of one client of the load. Called by client.c alone; knows nothing of
 * SMTP, never blocks, and never checks the server's certificate, which is a throw-away one.
 */
#include "transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdint.h>
#include <unistd.h>

/* OpenSSL calls this for each ticket; returning 1 keeps the reference. */
static int transport_take_ticket(SSL *tls, SSL_SESSION *ticket)
{
    struct transport *transport = SSL_get_app_data(tls);

    SSL_SESSION_free(transport->ticket);
    transport->ticket = ticket;
    return 1;
}

/* In place of the building and checking of a chain, which is no part of what is measured. */
static int transport_trust(X509_STORE_CTX *chain, void *unused)
{
    (void)chain;
    (void)unused;
    return 1;
}

SSL_CTX *transport_context(bool resume)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context)
        return NULL;
    if (!SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_set1_groups_list(context, "X25519") ||
        !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256")) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_cert_verify_callback(context, transport_trust, NULL);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context,
                                   resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                          : SSL_SESS_CACHE_OFF);
    if (resume)
        SSL_CTX_sess_set_new_cb(context, transport_take_ticket);
    return context;
}

bool transport_open(struct transport *transport, const struct sockaddr *address, socklen_t size)
{
    int on = 1;

    transport->tls = NULL;
    transport->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (transport->fd < 0)
        return false;
    if (setsockopt(transport->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
        (connect(transport->fd, address, size) == 0 || errno == EINPROGRESS))
        return true;
    transport_close(transport);
    return false;
}

bool transport_connected(const struct transport *transport)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(transport->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return false;
    errno = error;
    return error == 0;
}

bool transport_secure(struct transport *transport, SSL_CTX *context)
{
    transport->tls = SSL_new(context);
    if (!transport->tls || !SSL_set_fd(transport->tls, transport->fd))
        return false;
    SSL_set_app_data(transport->tls, transport);
    SSL_set_connect_state(transport->tls);
    return !transport->ticket || SSL_set_session(transport->tls, transport->ticket);
}

static enum transport_status transport_tls_status(const struct transport *transport, int result)
{
    switch (SSL_get_error(transport->tls, result)) {
    case SSL_ERROR_NONE:
        return TRANSPORT_DONE;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TRANSPORT_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return TRANSPORT_CLOSED;
    default:
        return TRANSPORT_FAILED;
    }
}

static enum transport_status transport_plain_status(ssize_t result, size_t *moved)
{
    if (result > 0) {
        *moved = (size_t)result;
        return TRANSPORT_DONE;
    }
    if (result == 0)
        return TRANSPORT_CLOSED;
    return errno == EAGAIN ? TRANSPORT_AGAIN : TRANSPORT_FAILED;
}

enum transport_status transport_handshake(struct transport *transport)
{
    ERR_clear_error();
    return transport_tls_status(transport, SSL_do_handshake(transport->tls));
}

bool transport_resumed(const struct transport *transport)
{
    return transport->tls && SSL_session_reused(transport->tls);
}

enum transport_status transport_read(struct transport *transport, char *buffer, size_t size,
                                     size_t *moved)
{
    *moved = 0;
    if (!transport->tls)
        return transport_plain_status(recv(transport->fd, buffer, size, 0), moved);
    ERR_clear_error();
    return transport_tls_status(transport, SSL_read_ex(transport->tls, buffer, size, moved));
}

enum transport_status transport_write(struct transport *transport, const char *bytes,
                                      size_t size, size_t *moved)
{
    *moved = 0;
    if (!transport->tls)
        return transport_plain_status(send(transport->fd, bytes, size, MSG_NOSIGNAL), moved);
    ERR_clear_error();
    return transport_tls_status(transport, SSL_write_ex(transport->tls, bytes, size, moved));
}

void transport_finish(struct transport *transport)
{
    if (transport->tls)
        SSL_shutdown(transport->tls);
    shutdown(transport->fd, SHUT_WR);
}

enum transport_status transport_await_close(const struct transport *transport)
{
    char rest[4096];
    size_t moved;
    enum transport_status status;

    do
        status = transport_plain_status(recv(transport->fd, rest, sizeof(rest), 0), &moved);
    while (status == TRANSPORT_DONE);
    return status;
}

void transport_close(struct transport *transport)
{
    SSL_free(transport->tls);
    transport->tls = NULL;
    close(transport->fd);
    transport->fd = -1;
}
