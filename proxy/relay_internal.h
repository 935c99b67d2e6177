/* The relay's struct, shared by relay.c and the files relay_*.c only. */
#ifndef POSTERN_RELAY_INTERNAL_H
#define POSTERN_RELAY_INTERNAL_H

#include "proxy/envelope.h"
#include "proxy/rate.h"
#include "proxy/relay.h"
#include "proxy/smtp/chunk.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/data.h"
#include "proxy/smtp/reply.h"

/* Commands whose replies may be outstanding; further input waits. */
#define RELAY_QUEUE_SIZE 128
/* A side that has this much waiting for it is congested: the other is not read. */
#define RELAY_CONGESTED_BYTES ((size_t)64 * 1024)
/* So much of refused messages is read and thrown away, in a session, before it ends. */
#define RELAY_DROPPED_LIMIT_BYTES ((uint64_t)64 * 1024 * 1024)

/* What the next reply answers. From EXPECT_LOCAL on it is a reply of our own: the rest is its
 * enum reply. */
enum relay_expectation {
    EXPECT_ANY,
    EXPECT_EHLO,
    EXPECT_HELO,
    EXPECT_RESET,
    EXPECT_MAIL,
    EXPECT_BINARY_MAIL, /* MAIL with BODY=BINARYMIME */
    EXPECT_RCPT,
    EXPECT_DATA,
    EXPECT_MESSAGE, /* the reply after CRLF.CRLF */
    EXPECT_OPENING, /* of a message in chunks: the client does not hear a 2xx to it */
    EXPECT_CHUNK,
    EXPECT_LAST_CHUNK,
    EXPECT_QUIT,
    EXPECT_LOCAL = 0x80,
};

/*
 *            DATA           354
 *   COMMANDS ────> AWAITING ────> MESSAGE ── CRLF.CRLF ──> COMMANDS
 *      │            │ ^  └── refused ──> COMMANDS
 *      │   2xx, 503 │ │ first BDAT of a message: its opening
 *      │            v │
 *      │    CHUNK <── BDAT ── COMMANDS
 *      │      └── size reached ──> COMMANDS
 *      └── something that closes the session ──> CLOSING: no more input, replies go on
 */
enum relay_mode {
    RELAY_COMMANDS,
    RELAY_AWAITING,
    RELAY_MESSAGE,
    RELAY_CHUNK,
    RELAY_CLOSING,
};

struct relay {
    struct service *service;
    struct relay_party party;
    struct stream *client;
    struct stream
        *backend; /* NULL: it has refused a message, the rest of which is thrown away */
    uint8_t mode; /* enum relay_mode */
    uint8_t closing_reply; /* enum reply: said when the queue is empty, in RELAY_CLOSING */
    bool pipelining : 1, chunking : 1;
    bool skipping_line : 1; /* an over-long one; its error has been counted */
    bool client_ended : 1;
    bool client_congested : 1; /* it does not read, so the backend is not read either */
    bool in_transaction : 1;
    bool message_unanswered : 1; /* complete, and what follows it waits for the reply */
    bool alone : 1;              /* the next command waits until all before it is answered */
    bool in_chunks : 1;          /* a message in chunks has begun, with its trace field */
    bool reads_chunks : 1;  /* … and the backend was sent nothing else since its last chunk */
    bool after_trace : 1;   /* the next byte of the message is its first, after the field */
    bool has_recipient : 1; /* of this transaction, accepted by the backend */
    bool is_binary : 1;     /* so was MAIL with BODY=BINARYMIME */
    bool is_last_chunk : 1;
    bool in_reply : 1; /* the client has heard a line of a reply, and not its last */
    bool silenced : 1; /* the backend has begun to refuse a message, and hears no more */
    bool swallows : 1; /* the chunk was refused here */
    bool stopping : 1;
    bool is_recorded : 1;  /* the log knows what became of this transaction */
    bool data_refused : 1; /* DATA was refused last, and no recipient accepted since */
    uint16_t queue_first, queue_count;
    uint8_t queue[RELAY_QUEUE_SIZE]; /* a ring of enum relay_expectation */
    uint32_t
        withdrawn;   /* of what the client was told, not offered: 1u << enum smtp_extension */
    unsigned errors; /* since the last accepted message */
    int next_byte; /* of the client's, behind the command that is dealt with; -1: not there yet
                    */
    struct smtp_data data;
    struct smtp_chunk chunk;
    uint64_t chunk_left_bytes;
    uint8_t chunk_ahead_bytes; /* of its beginning, which the backend has already */
    uint64_t dropped_bytes;
    struct buffer commands; /* from the client, not yet dealt with */
    struct buffer reply;    /* the beginning of a line from the backend */
    struct smtp_reply_state reply_state;
    struct smtp_ehlo *ehlo; /* during a reply to EHLO only */
    uint64_t last_activity_ms;
    struct rate rate; /* of the message that is under way */
    struct envelope envelope;
    uint64_t mail_ms;       /* when MAIL was sent on */
    uint64_t message_bytes; /* of this transaction's message, as they came */
    struct relay_counts counts;
    char *refusal; /* RELAY_REFUSAL_SIZE bytes; NULL: nothing was refused yet */
    struct relay_end end;
    const char *closing_cause; /* in RELAY_CLOSING, and without a backend */
};

/* Ends it, as relay_finish() does; but a client that hears 421 to QUIT may send again what the
 * backend has accepted, and hears 221. */
void relay_lose_backend(struct relay *relay, enum reply reply, const char *cause);

/* `cause`, or in a message whose client may think that it has ended it, the other one. */
const char *relay_cause_in_message(const struct relay *relay, const char *cause,
                                   const char *cause_at_false_end);

/* The first end stays. */
void relay_finish(struct relay *relay, enum reply reply, const char *cause);

/* Takes no more from the client; ends with `reply` when all that was asked has been answered.
 */
void relay_close(struct relay *relay, enum reply reply, const char *cause);

void relay_queue_push(struct relay *relay, uint8_t expectation);
uint8_t relay_queue_first(const struct relay *relay);
/* Has the client not yet sent all of the message, or chunk, that this place of the queue is
 * for? Counted from the first one. */
bool relay_is_half(const struct relay *relay, unsigned place);
void relay_queue_pop(struct relay *relay);

/* A reply of our own, in its turn. */
void relay_answer(struct relay *relay, enum reply reply);

void relay_say(struct relay *relay, const char *bytes, size_t length);

/* What stands before a message's first byte, as the party wants it; returns its length. */
size_t relay_trace(struct relay *relay, char out[static SMTP_TRACE_SIZE]);

/* Does something keep the client's next bytes from being dealt with now? */
bool relay_is_blocked(const struct relay *relay);

/* May a message in chunks begin, or go on? As far as the replies that have come say. */
bool relay_expects_chunk(const struct relay *relay);

/* relay_message.c: a chunk that the client announced, when all before it is answered; the first
 * byte of one that begins a message has come (next_byte). */
void relay_begin_chunk(struct relay *relay, uint64_t size, bool last);
/* The backend has accepted the opening: the chunk itself goes. */
void relay_chunk_is_open(struct relay *relay);
/* The backend has said 354. */
void relay_begin_message(struct relay *relay);
/* Sends the next bytes on, or throws them away; both return how many. */
size_t relay_take_message(struct relay *relay, const char *bytes, size_t length);
size_t relay_take_chunk(struct relay *relay, const char *bytes, size_t length);
/* The client knows that its message is refused: the backend's connection is closed at once, and
 * the session ends when the client has sent all of the message, or too much. */
void relay_leave_backend(struct relay *relay, const char *cause);

/* relay_commands.c: deals with the client's bytes as far as they are whole and nothing blocks;
 * returns how many. */
size_t relay_take_input(struct relay *relay, const char *bytes, size_t length);

/* An error reply in its turn, counted against the client. */
void relay_refuse(struct relay *relay, enum reply reply);

/* A line for the backend, which gets its CRLF. */
void relay_forward(struct relay *relay, const char *line, size_t length, uint8_t expectation);

/* relay_envelope.c: of the two commands of that name. */
void relay_mail(struct relay *relay, const struct smtp_command *command, const char *line,
                size_t length);
void relay_recipient(struct relay *relay, const struct smtp_command *command, const char *line,
                     size_t length);

/* relay_record.c: the backend has answered MAIL, and a transaction begins for the log. */
void relay_record_begin(struct relay *relay);
/* It is over, and told of once. */
void relay_record(struct relay *relay, enum relay_result result);
/* The same where its result is to be found: the client has begun another, or ended it. */
void relay_record_left(struct relay *relay);
/* A MAIL or RCPT goes out; or a RCPT is refused here. `word`: "FROM:" or "TO:". */
void relay_record_command(struct relay *relay, const char *arguments, size_t length,
                          const char *word);
void relay_record_refused_here(struct relay *relay, const char *arguments, size_t length,
                               enum reply reply);

/* relay_replies.c: deals with whole lines of the backend's; returns how many bytes that was. */
size_t relay_take_replies(struct relay *relay, char *bytes, size_t length);

#endif
