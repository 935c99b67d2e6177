/*
 * What the log says of a transaction's envelope: the sender, the first recipients and how many
 * there were. Commands are noted as they go to the backend, and told apart by its replies,
 * which come in the same order; a pipelining client may be several transactions ahead.
 *
 * Memory: one block of fixed size while a transaction is under way, none otherwise. What does
 * not fit is counted, and not named.
 */
#ifndef POSTERN_ENVELOPE_H
#define POSTERN_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/replies.h"

/* Bytes of an address that are kept, at least RFC 5321 section 4.5.3.1.3's; "..." stands for
 * the rest. */
#define ENVELOPE_ADDRESS_LIMIT 256
/* The first line of a reply, with its NUL. */
#define ENVELOPE_REPLY_SIZE 256
/* All addresses, each with a byte before it and a NUL. */
#define ENVELOPE_TEXT_SIZE 768

struct envelope_memory {
    char reply[ENVELOPE_REPLY_SIZE]; /* "": none */
    char text[ENVELOPE_TEXT_SIZE];
};

/* Zeroed: empty. */
struct envelope {
    struct envelope_memory *memory; /* from the slab; NULL: nothing is kept */
    uint16_t confirmed;             /* bytes of text: the sender, and recipients to be named */
    uint16_t used;                  /* the same with what is not answered yet */
    uint16_t named;                 /* recipients in the first part */
    uint16_t limit;                 /* of these */
    bool has_sender;                /* the text begins with it */
    uint32_t unkept;                /* the last of what is not answered, without a text */
    uint32_t accepted, refused;     /* recipients of this transaction */
};

void envelope_free(struct envelope *envelope);

/* The address of a MAIL or RCPT that goes to the backend. `keep`: false: its reply is awaited
 * all the same. */
void envelope_ask(struct envelope *envelope, const char *address, size_t length, bool keep);
/* A recipient that Postern refuses itself, in its turn. */
void envelope_refuse_here(struct envelope *envelope, const char *address, size_t length,
                          enum reply reply);

/* What the backend has said to the first that is not answered yet: MAIL, with which all before
 * it is forgotten; RCPT; or either where it has no meaning. `limit`: recipients to be named. */
void envelope_begin(struct envelope *envelope, unsigned limit);
void envelope_accept(struct envelope *envelope);
void envelope_refuse(struct envelope *envelope);
void envelope_skip(struct envelope *envelope);

/* The transaction is over; what is asked beyond it stays. */
void envelope_forget(struct envelope *envelope);

/* Keeps the first line of a reply, cut if it is long. */
void envelope_note_reply(struct envelope *envelope, const char *bytes, size_t length);

/* The text of the last one; NULL: there was none. Points into the envelope. */
const char *envelope_reply(const struct envelope *envelope);
/* "" is the empty path; NULL: not kept. Points into the envelope. */
const char *envelope_sender(const struct envelope *envelope);
/* Writes the recipients to be named, with commas between them: the accepted ones or, where none
 * was accepted, the refused ones. False: there are none. */
bool envelope_recipients(const struct envelope *envelope, char out[static ENVELOPE_TEXT_SIZE]);

#endif
