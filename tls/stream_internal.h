/*
 * The stream's struct, shared by stream.c (sockets), stream_tls.c (OpenSSL: handshakes, and all
 * of TLS 1.2), stream_records.c (TLS 1.3 after its handshake) and stream_finish.c only.
 */
#ifndef POSTERN_TLS_STREAM_INTERNAL_H
#define POSTERN_TLS_STREAM_INTERNAL_H

#include <event2/event_struct.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/buffer.h"
#include "tls/record.h"
#include "tls/stream.h"

/* What OpenSSL agreed on in a handshake, for stream_records.c. */
struct stream_secrets {
    uint8_t client[TLS_SECRET_LIMIT], server[TLS_SECRET_LIMIT];
    bool has_client, has_server;
};

struct stream {
    struct stream_loop *loop;
    stream_callback *callback;
    void *context;
    SSL *ssl;                       /* in a handshake, and all through TLS 1.2 */
    struct stream_secrets *secrets; /* in a handshake */
    struct tls_records *records;    /* TLS 1.3 after its handshake */
    const char *version, *cipher;   /* static text; NULL without TLS */
    struct tls_peer *peer;          /* NULL: without a certificate */
    const char *peer_fault;         /* static text */
    char *server_name;
    const char *early_words; /* NULL: none, or they have gone */
    size_t early_length;
    const char *error;
    struct buffer input;  /* under TLS: from the socket, not opened yet */
    struct buffer opened; /* TLS 1.3: of a record, more than its reader had room for */
    struct buffer clear;  /* gathered for one TLS record; unused without TLS */
    struct buffer output; /* for the socket: plain bytes or TLS records */
    struct event readable, writable;
    TAILQ_ENTRY(stream) link; /* in loop->unread or loop->finishing */
    uint64_t finish_deadline_ms;
    uint32_t finish_discarded_bytes;
    uint16_t record_bytes; /* size of the last record that was opened */
    uint8_t empty_records; /* in a row */
    int fd;
    bool tls : 1; /* from the beginning of the handshake on */
    bool handshaking : 1;
    bool client : 1; /* we are: OpenSSL keeps it also behind the handshake */
    bool resumed : 1;
    bool alpn : 1;
    bool bulk : 1; /* messages are what comes now */
    bool paused : 1;
    bool socket_empty : 1;   /* a short read in this turn: the next would say EAGAIN */
    bool input_left : 1;     /* the caller stopped before STREAM_AGAIN */
    bool in_unread_list : 1; /* will be offered again though the socket may be silent */
    bool spoken : 1;         /* early words have gone */
    bool end_of_input : 1;
    bool end_output : 1; /* FIN behind the queued bytes */
    bool output_ended : 1;
    bool output_broken : 1; /* nobody takes it any more; input may still be there to read */
    bool kernel : 1;        /* opens the records that come */
    bool kernel_refused : 1;
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
    uint64_t handshakes;
    bool keeps_names;
    bool kernel; /* may open records */
    bool kernel_refusal_told;
    BIO_METHOD *bio_method;
    struct tls_engine *engine;
    uint8_t *raw;    /* STREAM_READ_SIZE bytes, free between two calls */
    uint8_t *opened; /* one record's content, likewise */
};

/* Notes the first error; the caller's callback hears of it from the loop. */
void stream_fail(struct stream *stream, const char *error);

/* recv() into `buffer`: >0 bytes, 0 end of input, -1 nothing now, -2 failed. */
ssize_t stream_receive(struct stream *stream, char *buffer, size_t size);

/* Notes what a system call has received instead, of so much room, and returns the same. */
ssize_t stream_received(struct stream *stream, ssize_t got, size_t size);

/* Says whether input stays inside OpenSSL that the owner has not read. */
void stream_input_left(struct stream *stream, bool left);

/* Asks for another turn on the stream soon, with or without the socket. */
void stream_offer_again(struct stream *stream);

/* stream_secrets.c */
void stream_secrets_forget(struct stream *stream);

/* stream_tls.c; the first four also serve streams that stream_records.c has taken over. */
MUST_USE enum stream_status stream_tls_read(struct stream *stream, char *buffer, size_t size,
                                            size_t *got);
/* What was gathered, as one record (or as many as it takes). */
void stream_tls_write(struct stream *stream);
void stream_tls_close_notify(struct stream *stream);
void stream_tls_free(struct stream *stream);
BIO_METHOD *stream_tls_bio_method(void);
/* One step of the handshake; true when it is done. */
bool stream_tls_handshake(struct stream *stream);
/* Input is inside OpenSSL or opened, and the socket will not speak of it. */
bool stream_tls_has_input(const struct stream *stream);
/* Nothing comes after what was read. */
enum stream_status stream_end_input(struct stream *stream);

/*
 * stream_records.c. Takes a stream over from OpenSSL at the end of a handshake, in whose last
 * step the bytes of `output` from `sent_from` on were written; false: it stays with OpenSSL.
 */
MUST_USE bool stream_records_take_over(struct stream *stream, size_t sent_from);
MUST_USE enum stream_status stream_records_read(struct stream *stream, char *buffer,
                                                size_t size, size_t *got);
void stream_records_write(struct stream *stream);
void stream_records_close_notify(struct stream *stream);
void stream_records_free(struct stream *stream);
/* Seals a KeyUpdate message and changes to our next key. */
void stream_records_change_key(struct stream *stream);
/* Tells the other side what is wrong, unless it was its own alert (0); returns STREAM_BROKEN.
 */
enum stream_status stream_records_fail(struct stream *stream, uint8_t alert);
/* Records that carry nothing keep the loop busy for nothing: so many in a row, and no more.
 * True: that was one too many. */
MUST_USE bool stream_records_carry_nothing(struct stream *stream, enum tls_record_status status,
                                           size_t length);

/*
 * stream_kernel.c. Has the kernel open the records from the next one on, of which nothing has
 * been read yet; false: it is not worth it, not wanted, or the kernel does not.
 */
MUST_USE bool stream_kernel_begin(struct stream *stream);
MUST_USE enum stream_status stream_kernel_read(struct stream *stream, char *buffer, size_t size,
                                               size_t *got);
/* Like stream_receive(), and the content's type; with -2 perhaps an alert that is to be sent.
 */
ssize_t stream_kernel_receive(struct stream *stream, char *buffer, size_t size, uint8_t *type,
                              uint8_t *alert);

/* stream_finish.c */
void stream_finish_event(struct stream *stream);
void stream_finish_overdue(struct stream_loop *loop);

#endif
