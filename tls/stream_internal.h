/*
 * The stream's struct, shared by stream.c (sockets), stream_tls.c (OpenSSL), stream_bio.c (what
 * is between these), stream_kernel.c (OpenSSL where the kernel takes part), stream_about.c and
 * stream_finish.c only.
 */
#ifndef POSTERN_TLS_STREAM_INTERNAL_H
#define POSTERN_TLS_STREAM_INTERNAL_H

#include <event2/event_struct.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/buffer.h"
#include "tls/stream.h"

/* The largest record that TLS 1.3 allows. */
#define STREAM_RECORD_SIZE ((size_t)5 + 16384 + 256)

struct stream {
    struct stream_loop *loop;
    stream_callback *callback;
    void *context;
    SSL *ssl;                     /* NULL without TLS */
    const char *version, *cipher; /* static text; NULL without TLS */
    struct tls_peer *peer;        /* NULL: without a certificate */
    const char *peer_fault;       /* static text */
    char *server_name;
    const char *early_words; /* NULL: none, or they have gone */
    size_t early_length;
    const char *error;
    struct buffer input;   /* from the socket, not with OpenSSL yet: perhaps half a record */
    struct buffer clear;   /* gathered for one TLS record; unused without TLS */
    struct buffer output;  /* for the socket: plain bytes or TLS records */
    struct buffer sealing; /* `kernel`: OpenSSL has it, and has not written all of it */
    struct event readable, writable;
    TAILQ_ENTRY(stream) link; /* in loop->unread or loop->finishing */
    uint64_t finish_deadline_ms;
    uint32_t finish_discarded_bytes;
    int fd;
    uint8_t empty_messages; /* handshake messages since the last data */
    bool tls : 1;           /* from the beginning of the handshake on */
    bool handshaking : 1;
    bool client : 1; /* this side is the client */
    bool resumed : 1;
    bool alpn : 1;
    bool unaligned : 1; /* OpenSSL may hold half a record */
    bool paused : 1;
    bool socket_empty : 1;   /* a short read in this turn: the next would say EAGAIN */
    bool input_left : 1;     /* the caller stopped before STREAM_AGAIN */
    bool in_unread_list : 1; /* will be offered again though the socket may be silent */
    bool spoken : 1;         /* early words have gone */
    bool end_of_input : 1;
    bool end_output : 1; /* FIN behind the queued bytes */
    bool output_ended : 1;
    bool output_broken : 1; /* nobody takes it any more; input may still be there to read */
    bool kernel : 1;        /* OpenSSL has the socket, and the kernel may seal and open */
    bool closing : 1;       /* `kernel`: a close_notify follows what is queued */
    bool failed : 1;
    bool failure_told : 1;
    bool finishing : 1;
};

TAILQ_HEAD(stream_list, stream);

/* What recv() has brought to the stream that is being read. The rest is the stream's `input`
 * again when the reader goes, so that no idle stream needs a buffer for it. */
struct received {
    struct stream *of; /* NULL: none is being read */
    size_t start, end; /* of what OpenSSL has not taken */
    size_t room;       /* at the reader's */
    char bytes[STREAM_READ_SIZE];
};

struct stream_loop {
    struct event_base *base;
    struct event unread_timer, finish_timer;
    struct stream_list unread;    /* with input inside OpenSSL that nobody took */
    struct stream_list finishing; /* in order of their deadlines */
    unsigned finishing_count;
    uint64_t handshakes;
    bool keeps_names;
    bool kernel; /* may seal and open records */
    bool kernel_refusal_told;
    BIO_METHOD *bio_method;
    struct received received;
};

/* Notes the first error; the caller's callback hears of it from the loop. */
void stream_fail(struct stream *stream, const char *error);

/* recv() into `buffer`: >0 bytes, 0 end of input, -1 nothing now, -2 failed. */
ssize_t stream_receive(struct stream *stream, char *buffer, size_t size);

/* Says whether input stays inside OpenSSL that the owner has not read. */
void stream_input_left(struct stream *stream, bool left);

/* Asks for another turn on the stream soon, with or without the socket. */
void stream_offer_again(struct stream *stream);

/* Returns whether anything waits for the socket, also a close_notify. */
bool stream_has_unsent(const struct stream *stream);

/* stream_tls.c */
MUST_USE enum stream_status stream_tls_read(struct stream *stream, char *buffer, size_t size,
                                            size_t *got);
/* What was gathered, as one record (or as many as it takes). */
void stream_tls_write(struct stream *stream);
void stream_tls_close_notify(struct stream *stream);
void stream_tls_free(struct stream *stream);
/* One step of the handshake; true when it is done. */
bool stream_tls_handshake(struct stream *stream);
/* Input is inside OpenSSL, and the socket will not speak of it. */
bool stream_tls_has_input(const struct stream *stream);
/* Returns what a call of OpenSSL means that did not succeed: nothing now, end, or failure. */
enum stream_status stream_tls_status(struct stream *stream, int result);

/* stream_bio.c */
BIO_METHOD *stream_bio_method(void);
/* Returns what OpenSSL reads and writes through, or NULL. */
MUST_USE BIO *stream_bio_new(struct stream *stream);
/* Around the calls by which OpenSSL reads records, for a reader with that much room. */
void stream_bio_begin(struct stream *stream, size_t room);
void stream_bio_end(struct stream *stream);
/* Between these: returns whether OpenSSL can read without the socket. */
bool stream_bio_has_record(struct stream *stream);

/* stream_about.c: notes what the finished handshake says about the other side; frees that. */
void stream_remember(struct stream *stream);
void stream_forget(struct stream *stream);

/* stream_kernel.c: for streams that are `kernel`, but for stream_kernel_opens() */
/* Returns what OpenSSL reads and writes the socket through, or NULL. */
MUST_USE BIO *stream_kernel_attach(struct stream *stream, SSL *ssl);
/* Called after the handshake: adapts the stream to what the kernel does from now on. */
void stream_kernel_begin(struct stream *stream);
/* Writes what is gathered, then a close_notify if it is time for one. */
void stream_kernel_write(struct stream *stream);
/* Returns true, and fails the stream, if the client wants a key that the kernel cannot take. */
bool stream_kernel_lacks_key(struct stream *stream);
/* Returns whether the kernel decrypts for this stream; false for all others. */
bool stream_kernel_opens(const struct stream *stream);

/* stream_finish.c */
void stream_finish_event(struct stream *stream);
void stream_finish_overdue(struct stream_loop *loop);

#endif
