/* The relay's struct, shared by relay.c, relay_commands.c, relay_envelope.c and
 * relay_replies.c only. */
#ifndef POSTERN_RELAY_INTERNAL_H
#define POSTERN_RELAY_INTERNAL_H

#include "proxy/relay.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/data.h"
#include "proxy/smtp/reply.h"

/* Commands whose replies may be outstanding; further input waits. */
#define RELAY_QUEUE_SIZE 128
/* A side that has this much waiting for it is congested: the other is not read. */
#define RELAY_CONGESTED_BYTES ((size_t)64 * 1024)

/* What the next reply answers. From EXPECT_LOCAL on it is a reply of our own: the rest is its
 * enum reply. */
enum relay_expectation {
    EXPECT_ANY,
    EXPECT_EHLO,
    EXPECT_HELO,
    EXPECT_RESET,
    EXPECT_MAIL,
    EXPECT_RCPT,
    EXPECT_DATA,
    EXPECT_MESSAGE, /* the reply behind CRLF.CRLF */
    EXPECT_CHUNK,
    EXPECT_LAST_CHUNK,
    EXPECT_QUIT,
    EXPECT_LOCAL = 0x80,
};

/*
 *            DATA                354
 *   COMMANDS ────> AWAITING_DATA ────> MESSAGE ── CRLF.CRLF ──> COMMANDS
 *      │  ^             └── other replies ──> COMMANDS
 *      │  └─ size reached ─ CHUNK <── BDAT ── COMMANDS
 *      └── something that closes the session ──> CLOSING: no more input, replies go on
 */
enum relay_mode {
    RELAY_COMMANDS,
    RELAY_AWAITING_DATA,
    RELAY_MESSAGE,
    RELAY_CHUNK,
    RELAY_CLOSING,
};

struct relay {
    struct service *service;
    struct relay_party party;
    struct stream *client, *backend;
    uint8_t mode;          /* enum relay_mode */
    uint8_t closing_reply; /* enum reply: said when the queue is empty, in RELAY_CLOSING */
    bool pipelining : 1, chunking : 1;
    bool skipping_line : 1; /* an over-long one; its error has been counted */
    bool client_ended : 1;
    bool client_congested : 1; /* it does not read, so the backend is not read either */
    bool in_transaction : 1;
    bool message_unanswered : 1; /* complete, and what follows it waits for the reply */
    bool alone : 1;              /* the next command waits until all before it is answered */
    bool in_chunks : 1;          /* a message in chunks has begun, with its trace field */
    bool behind_trace : 1;  /* the next byte of the message is its first, behind the field */
    bool has_recipient : 1; /* of this transaction, accepted by the backend */
    bool stopping : 1;
    bool backend_took_leave : 1; /* it said 421 */
    uint16_t queue_first, queue_count;
    uint8_t queue[RELAY_QUEUE_SIZE]; /* a ring of enum relay_expectation */
    uint32_t
        withdrawn; /* of what the client was told, not offered: 1u << enum smtp_extension */
    unsigned errors;
    int next_byte; /* of the client's, behind the command that is dealt with; -1: not there yet
                    */
    struct smtp_data data;
    uint64_t chunk_left_bytes;
    struct buffer commands; /* from the client, not yet dealt with */
    struct buffer reply;    /* the beginning of a line from the backend */
    struct smtp_reply_state reply_state;
    struct smtp_ehlo *ehlo; /* during a reply to EHLO only */
    uint64_t last_activity_ms;
    struct relay_counts counts;
    char *refusal; /* RELAY_REFUSAL_SIZE bytes; NULL: nothing was refused yet */
    struct relay_end end;
    const char *closing_cause;
};

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

/* relay_replies.c: deals with whole lines of the backend's; returns how many bytes that was. */
size_t relay_take_replies(struct relay *relay, char *bytes, size_t length);

#endif
