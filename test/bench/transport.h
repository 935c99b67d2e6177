/*
 * A client's socket, plain or under TLS 1.3, without blocking. The owner waits for the
 * descriptor (edge-triggered) and calls again after TRANSPORT_AGAIN.
 */
#ifndef BENCH_TRANSPORT_H
#define BENCH_TRANSPORT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum transport_status {
    TRANSPORT_DONE,
    TRANSPORT_AGAIN,
    TRANSPORT_CLOSED, /* the peer's end of file */
    TRANSPORT_FAILED,
};

/* Zeroed, it is a transport that was never opened; its fd is then meaningless. */
struct transport {
    int fd;
    SSL *tls;            /* NULL while the socket is plain */
    SSL_SESSION *ticket; /* the newest, kept from one connection to the next */
};

/*
 * A context for clients: TLS 1.3, X25519, AES-128-GCM, so that all servers are asked for the
 * same work. With `resume` the transports collect tickets. NULL if OpenSSL fails.
 */
SSL_CTX *transport_context(bool resume);

/* Starts a connection with TCP_NODELAY. False if that fails at once; errno tells why. */
bool transport_open(struct transport *transport, const struct sockaddr *address,
                    socklen_t size);

/* Once the descriptor is writable: whether the connection stands. */
bool transport_connected(const struct transport *transport);

/* Puts TLS on the socket, offering the ticket if there is one; transport_handshake() follows.
 */
bool transport_secure(struct transport *transport, SSL_CTX *context);

enum transport_status transport_handshake(struct transport *transport);

bool transport_resumed(const struct transport *transport);

/* DONE after at least one byte; `*moved` says how many. */
enum transport_status transport_read(struct transport *transport, char *buffer, size_t size,
                                     size_t *moved);
enum transport_status transport_write(struct transport *transport, const char *bytes,
                                      size_t size, size_t *moved);

/* Sends close_notify and the end of file; transport_await_close() follows. */
void transport_finish(struct transport *transport);

/* CLOSED once the peer has closed too; what it still sent is thrown away. */
enum transport_status transport_await_close(const struct transport *transport);

/* Closes the socket and keeps the ticket. */
void transport_close(struct transport *transport);

#endif
