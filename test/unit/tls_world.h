/*
 * A stream in the part of a TLS client, and OpenSSL in the part of its server, at the two ends
 * of a socketpair on one event loop. Both send a pattern of bytes and check what they receive.
 */
#ifndef POSTERN_TEST_TLS_WORLD_H
#define POSTERN_TEST_TLS_WORLD_H

#include "certificate_maker.h"

#include <event2/event_struct.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tls/client_context.h"
#include "tls/stream.h"

#define PATIENCE_S 30
#define PIECE      16384
#define MEGABYTE   ((size_t)1024 * 1024)
/* A client of streams stops writing at this and waits until it has gone. */
#define QUEUE_LIMIT 65536

struct world {
    struct event_base *base;
    struct event patience;
    bool late;

    struct stream_loop *loop;
    struct stream *stream;
    SSL_CTX *client_context;
    bool secured, ended;
    char error[128];
    size_t received, sent, to_send, most_queued;

    SSL_CTX *server_context;
    SSL *server;
    int server_fd;
    struct event server_readable, server_writable;
    bool server_secured, server_ended, server_failed, server_deaf;
    size_t server_received, server_sent, server_to_send;
};

static inline void fill_pattern(uint8_t *out, size_t from, size_t length)
{
    for (size_t i = from; i < from + length; i++)
        *out++ = (uint8_t)(i * 7 + (i >> 8) + (i >> 16) * 3);
}

static inline void check_pattern(const uint8_t *bytes, size_t from, size_t length)
{
    uint8_t wanted[PIECE];
    while (length > 0) {
        size_t piece = length < sizeof wanted ? length : sizeof wanted;
        fill_pattern(wanted, from, piece);
        assert_memory_equal(bytes, wanted, piece);
        from += piece;
        bytes += piece;
        length -= piece;
    }
}

/* The server */

static inline bool goes_on_later(struct world *world, int result)
{
    int error = SSL_get_error(world->server, result);
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN)
        world->server_ended = true;
    else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        world->server_failed = true;
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static inline void server_reads(struct world *world)
{
    uint8_t bytes[PIECE];
    size_t got;
    int result;
    while ((result = SSL_read_ex(world->server, bytes, sizeof bytes, &got)) == 1) {
        check_pattern(bytes, world->server_received, got);
        world->server_received += got;
    }
    if (!goes_on_later(world, result))
        event_del(&world->server_readable);
}

static inline void server_writes(struct world *world)
{
    uint8_t bytes[PIECE];
    size_t took;
    while (world->server_sent < world->server_to_send) {
        size_t left = world->server_to_send - world->server_sent;
        size_t piece = left < sizeof bytes ? left : sizeof bytes;
        fill_pattern(bytes, world->server_sent, piece);
        int result = SSL_write_ex(world->server, bytes, piece, &took);
        if (result != 1) {
            if (goes_on_later(world, result))
                event_add(&world->server_writable, NULL);
            return;
        }
        world->server_sent += took;
    }
}

static inline void serve(evutil_socket_t fd, short what, void *argument)
{
    struct world *world = argument;
    (void)fd, (void)what;
    if (!world->server_secured) {
        int result = SSL_do_handshake(world->server);
        world->server_secured = result == 1;
        if (result != 1 && !goes_on_later(world, result))
            event_del(&world->server_readable);
    }
    if (!world->server_secured)
        return;
    if (!world->server_deaf)
        server_reads(world);
    server_writes(world);
}

/* The client */

static inline void client_reads(struct world *world)
{
    static uint8_t bytes[STREAM_READ_SIZE];
    size_t got;
    enum stream_status status;
    while ((status = stream_read(world->stream, (char *)bytes, sizeof bytes, &got)) ==
           STREAM_OK) {
        check_pattern(bytes, world->received, got);
        world->received += got;
    }
    world->ended = status == STREAM_EOF;
}

static inline void client_writes(struct world *world)
{
    uint8_t bytes[PIECE];
    while (world->sent < world->to_send && stream_queued(world->stream) < QUEUE_LIMIT) {
        size_t left = world->to_send - world->sent;
        size_t piece = left < sizeof bytes ? left : sizeof bytes;
        fill_pattern(bytes, world->sent, piece);
        stream_write(world->stream, bytes, piece);
        world->sent += piece;
        stream_flush(world->stream);
    }
    if (stream_queued(world->stream) > world->most_queued)
        world->most_queued = stream_queued(world->stream);
}

static inline void on_client(void *context, struct stream *stream, enum stream_event event)
{
    struct world *world = context;
    if (event == STREAM_SECURED)
        world->secured = true;
    else if (event == STREAM_READABLE)
        client_reads(world);
    else if (event == STREAM_FAILED)
        snprintf(world->error, sizeof world->error, "%s", stream_error(stream));
    if (world->secured && !world->error[0])
        client_writes(world);
    stream_flush(stream);
}

/* Both */

static inline void on_patience(evutil_socket_t fd, short what, void *argument)
{
    struct world *world = argument;
    (void)fd, (void)what;
    world->late = true;
}

/* Turns the loop until the condition holds. */
#define UNTIL(world, condition)                                                                \
    do {                                                                                       \
        while (!(condition) && !(world)->late)                                                 \
            event_base_loop((world)->base, EVLOOP_ONCE);                                       \
        if (!(condition))                                                                      \
            fail_msg("never came: %s (client: %s)", #condition, (world)->error);               \
    } while (0)

/* The server shows `made`; the client believes what is in the file `ca`. */
static inline void open_world(struct world *world, const struct made *made, const char *ca)
{
    static const struct timeval patience = {PATIENCE_S, 0};
    int pair[2];
    *world = (struct world){.base = event_base_new()};
    evtimer_assign(&world->patience, world->base, on_patience, world);
    evtimer_add(&world->patience, &patience);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                     0);

    world->client_context = tls_client_context_new(ca, false);
    assert_non_null(world->client_context);
    world->loop = stream_loop_new(world->base);
    world->stream = stream_new(world->loop, pair[0], on_client, world);
    assert_non_null(world->stream);

    world->server_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(world->server_context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    assert_int_equal(SSL_CTX_use_certificate(world->server_context, made->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(world->server_context, made->key), 1);
    world->server = SSL_new(world->server_context);
    world->server_fd = pair[1];
    assert_int_equal(SSL_set_fd(world->server, pair[1]), 1);
    SSL_set_accept_state(world->server);
    event_assign(&world->server_readable, world->base, pair[1], EV_READ | EV_PERSIST, serve,
                 world);
    event_assign(&world->server_writable, world->base, pair[1], EV_WRITE, serve, world);
    event_add(&world->server_readable, NULL);
}

static inline void close_server(struct world *world)
{
    event_del(&world->server_readable);
    event_del(&world->server_writable);
    SSL_free(world->server);
    world->server = NULL;
    if (world->server_fd >= 0)
        close(world->server_fd);
    world->server_fd = -1;
}

static inline void close_world(struct world *world)
{
    close_server(world);
    stream_free(world->stream);
    stream_loop_free(world->loop);
    event_del(&world->patience);
    event_base_free(world->base);
    SSL_CTX_free(world->client_context);
    SSL_CTX_free(world->server_context);
    ERR_clear_error();
}

#endif
