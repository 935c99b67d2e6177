/* The stream's struct, shared by stream.c, stream_tls.c and stream_finish.c only. */
#ifndef POSTERN_TLS_STREAM_INTERNAL_H
#define POSTERN_TLS_STREAM_INTERNAL_H

#include <event2/event_struct.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/buffer.h"
#include "tls/stream.h"

struct stream {
    struct stream_loop *loop;
    stream_callback *callback;
    void *context;
    SSL *ssl; /* NULL: plain */
    const char *error;
    struct buffer clear;  /* gathered for one TLS record; unused without TLS */
    struct buffer output; /* for the socket: plain bytes or TLS records */
    struct event readable, writable;
    TAILQ_ENTRY(stream) link; /* in loop->unread or loop->finishing */
    uint64_t finish_deadline_ms;
    uint32_t finish_discarded_bytes;
    int fd;
    bool handshaking : 1;
    bool paused : 1;
    bool socket_empty : 1;   /* a short read in this turn: the next would say EAGAIN */
    bool input_left : 1;     /* the caller stopped before STREAM_AGAIN */
    bool in_unread_list : 1; /* will be offered again though the socket may be silent */
    bool end_of_input : 1;
    bool end_output : 1; /* FIN behind the queued bytes */
    bool output_ended : 1;
    bool output_broken : 1; /* nobody takes it any more; input may still be there to read */
    bool failed : 1;
    bool failure_told : 1;
    bool finishing : 1;
};

TAILQ_HEAD(stream_list, stream);

struct stream_loop {
    struct event_base *base;
    struct event unread_timer, finish_timer;
    struct stream_list unread;    /* with input inside OpenSSL that nobody took */
    struct stream_list finishing; /* in order of their deadlines */
    unsigned finishing_count;
    BIO_METHOD *bio_method;
};

/* Notes the first error; the caller's callback hears of it from the loop. */
void stream_fail(struct stream *stream, const char *error);

/* recv() into `buffer`: >0 bytes, 0 end of input, -1 nothing now, -2 failed. */
ssize_t stream_receive(struct stream *stream, char *buffer, size_t size);

/* Says whether input stays inside OpenSSL that the owner has not read. */
void stream_input_left(struct stream *stream, bool left);

/* Asks for another turn on the stream soon, with or without the socket. */
void stream_offer_again(struct stream *stream);

/* stream_tls.c */
BIO_METHOD *stream_tls_bio_method(void);
MUST_USE enum stream_status stream_tls_read(struct stream *stream, char *buffer, size_t size,
                                            size_t *got);
/* What was gathered, as one record (or as many as it takes). */
void stream_tls_write(struct stream *stream);
/* One step of the handshake; true when it is done. */
bool stream_tls_handshake(struct stream *stream);
void stream_tls_close_notify(struct stream *stream);

/* stream_finish.c */
void stream_finish_event(struct stream *stream);
void stream_finish_overdue(struct stream_loop *loop);

#endif
