/*
 * A stream: one connected socket, plain or under TLS, behind events.
 *
 * Reading: when STREAM_READABLE comes, stream_read() decrypts straight into
 * the caller's buffer until it says STREAM_AGAIN. Whatever the caller leaves
 * unread is offered again in the next turn of the loop, also what OpenSSL has
 * read ahead of the socket.
 *
 * Writing: stream_write() gathers, and stream_flush() sends all of it in as
 * few system calls as it takes; call it once at the end of a turn. What the
 * socket does not take stays queued, the caller stops when stream_queued()
 * grows, and STREAM_DRAINED tells when it has gone.
 *
 *   plain ── stream_secure() ──> handshake ── STREAM_SECURED ──> TLS
 *
 * An idle stream holds no buffers. One thread; callbacks come from the event
 * loop only, never from inside a call, and may free the stream.
 */
#ifndef POSTERN_TLS_STREAM_H
#define POSTERN_TLS_STREAM_H

#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proxy/base/compiler.h"
#include "tls/peer.h"

struct stream;

/* What the streams of one event base share. */
struct stream_loop;

MUST_USE struct stream_loop *stream_loop_new(struct event_base *base);
/* Closes the streams that are still finishing. All others must be gone. */
void stream_loop_free(struct stream_loop *loop);
/* Returns whether the kernel does TLS and this OpenSSL can use it. The kernel may load its
 * module "tls" for that. */
bool stream_kernel_available(void);
/* From now on OpenSSL lets the kernel encrypt and decrypt for clients that begin TLS, as far as
 * both can. */
void stream_loop_use_kernel(struct stream_loop *loop);
/* Handshakes begun so far. */
uint64_t stream_loop_handshakes(const struct stream_loop *loop);
/* Streams given to stream_finish() that are not closed yet. */
unsigned stream_loop_finishing(const struct stream_loop *loop);
/* Closes the one of them that has been finishing longest, which gives its descriptor back; what
 * it still had to send may be lost. False: there is none. */
bool stream_loop_close_finishing(struct stream_loop *loop);

enum stream_event {
    STREAM_SECURED,  /* the handshake is done */
    STREAM_READABLE, /* call stream_read() */
    STREAM_DRAINED,  /* what was queued has gone */
    STREAM_FAILED,   /* reading or writing came to an error: stream_error() */
};

typedef void stream_callback(void *context, struct stream *stream, enum stream_event event);

/* Takes the connected, non-blocking socket over. NULL (and the socket is closed): no memory. */
MUST_USE struct stream *stream_new(struct stream_loop *loop, int fd, stream_callback *callback,
                                   void *context);

/* Who hears of events from now on. */
void stream_set_callback(struct stream *stream, stream_callback *callback, void *context);

/* Begins a server's handshake. What was read in plaintext is the caller's to forget. */
MUST_USE bool stream_secure(struct stream *stream, SSL_CTX *context);

/*
 * Lets the server's first words go out with its part of the handshake, where that can be (TLS
 * 1.3's half round trip): the client has them before it answers, and may answer at once.
 * Before stream_secure(), for words that anybody may hear; they must live until
 * STREAM_SECURED, when stream_has_spoken() tells whether they have gone, or are still to be
 * written.
 */
void stream_speak_early(struct stream *stream, const char *words, size_t length);
bool stream_has_spoken(const struct stream *stream);

/*
 * Begins a client's handshake with a server that is to prove that it is `name`, a host name or
 * an IP address; call it also while the socket is still connecting. What was read in plaintext
 * is the caller's to forget. The caller flushes when STREAM_SECURED has come.
 */
MUST_USE bool stream_secure_client(struct stream *stream, SSL_CTX *context, const char *name);

/* Closes at once, sends nothing more. NULL is allowed. */
void stream_free(struct stream *stream);

/*
 * Sends what is queued and TLS's close_notify, then closes; lets the other side read it even if
 * it is still talking (reads and forgets for a short time), unless `at_once` says that it has
 * nothing to say any more. The stream is no longer the caller's.
 */
void stream_finish(struct stream *stream, bool at_once);

enum stream_status {
    STREAM_OK,     /* *got bytes, at least one */
    STREAM_AGAIN,  /* nothing now; an event will tell */
    STREAM_EOF,    /* the other side ended its sending, with or without close_notify */
    STREAM_BROKEN, /* stream_error() */
};

/*
 * A buffer of this size has room for all that one system call brings: sixteen of the largest
 * records, which is how a client sends a large message.
 */
#define STREAM_READ_SIZE ((size_t)16 * (5 + 16384 + 1 + 16))

/* Fills the buffer as far as there is anything to read. */
MUST_USE enum stream_status stream_read(struct stream *stream, char *buffer, size_t size,
                                        size_t *got);

/* The same for a plain stream, and what is read stays to be read again, by whomever. */
MUST_USE enum stream_status stream_peek(struct stream *stream, char *buffer, size_t size,
                                        size_t *got);

/* Stops and restarts the offering of input. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* Queues bytes; errors surface as STREAM_FAILED. */
void stream_write(struct stream *stream, const void *bytes, size_t length);

/* The same for many pieces; a large plain write goes to the socket without a copy. */
void stream_writev(struct stream *stream, const struct iovec *pieces, int count);

/* Forgets what is queued and sends nothing more, not even a FIN; reading goes on. */
void stream_silence(struct stream *stream);

/* Sends as much as the socket takes now. */
void stream_flush(struct stream *stream);

/* Bytes that wait for the socket. */
size_t stream_queued(const struct stream *stream);

/* Ends sending (FIN) once everything has been flushed. */
void stream_end_output(struct stream *stream);

/*
 * From now on messages come instead of passwords: OpenSSL does not overwrite what it has
 * delivered, and reads further ahead where it has the socket itself.
 */
void stream_expect_bulk(struct stream *stream);

bool stream_is_secure(const struct stream *stream);
/* "TLSv1.3", "TLS_AES_128_GCM_SHA256"; NULL without TLS. */
const char *stream_tls_version(const struct stream *stream);
const char *stream_tls_cipher(const struct stream *stream);
bool stream_tls_resumed(const struct stream *stream);
/* Returns whether the kernel encrypts or decrypts for this stream. */
bool stream_tls_in_kernel(const struct stream *stream);

/* The client's certificate; NULL: none, or not verified. Lives as long as the stream. */
const struct tls_peer *stream_peer(const struct stream *stream);
/* Why a certificate that the client showed does not count: static text; NULL: it does, or there
 * is none. */
const char *stream_peer_fault(const struct stream *stream);

/* From now on streams of this loop remember the names that clients ask for. */
void stream_loop_keep_names(struct stream_loop *loop);
/* The name that the client asked for (SNI); NULL: none, or not remembered. */
const char *stream_server_name(const struct stream *stream);
/* Did it agree to the protocol "smtp" (ALPN)? */
bool stream_alpn(const struct stream *stream);

/* Why it failed, in words: static text. */
const char *stream_error(const struct stream *stream);

/* The socket, for its addresses; never for reading, writing or closing. */
int stream_descriptor(const struct stream *stream);

#endif
