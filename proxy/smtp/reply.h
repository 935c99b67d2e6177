/*
 * SMTP replies (RFC 5321 section 4.2), as pure functions over bytes.
 *
 * Lines come without their line end. A reply is one or more lines with the
 * same code; all but the last have '-' behind the code.
 */
#ifndef POSTERN_SMTP_REPLY_H
#define POSTERN_SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 5321 section 4.5.3.1.5 says 512; backends are known to send more. With the line end. */
#define SMTP_REPLY_LINE_LIMIT 4096

struct smtp_reply_line {
    unsigned code; /* 200 to 599 */
    bool last;
    const char *text; /* behind the code and its separator; may be empty, never NULL */
    size_t text_length;
};

/* Returns false if the line is not a reply's: three digits (2-5, 0-9, 0-9), then ' ', '-' or
 * the end. */
__attribute__((warn_unused_result)) bool smtp_reply_line_parse(const char *line, size_t length,
                                                               struct smtp_reply_line *out);

/*
 * A reply fed line by line: is each line of the same code, and is it whole?
 * Zero-initialised is the start.
 */
struct smtp_reply_state {
    uint16_t code; /* of the reply that is under way; 0: none is */
};

enum smtp_reply_status {
    SMTP_REPLY_MORE,   /* a further line of this reply follows */
    SMTP_REPLY_DONE,   /* that was the last line; the state is ready for the next reply */
    SMTP_REPLY_BROKEN, /* not a reply line, or another code in the middle of a reply */
};

enum smtp_reply_status smtp_reply_feed(struct smtp_reply_state *state, const char *line,
                                       size_t length, struct smtp_reply_line *out);

/* Room for a reply that is repeated to another: two full lines (RFC 5321 section 4.5.3.1.5). */
#define SMTP_REPLY_TEXT_SIZE 1024

/* A reply as it goes out, each line with its CRLF. Zero-initialised is the start. */
struct smtp_reply_text {
    uint16_t length; /* bytes */
    uint16_t last;   /* where the last line begins */
    char bytes[SMTP_REPLY_TEXT_SIZE];
};

/*
 * Adds a line of the reply. A line is cut at 512 bytes, not within a character of UTF-8; lines
 * for which there is no room are left out. After each line the text is a whole reply.
 */
void smtp_reply_text_add(struct smtp_reply_text *text, const struct smtp_reply_line *line);

/* Replaces NUL, control characters other than tab, and DEL by '?', in place: backends are
 * hostile too. */
void smtp_reply_clean(char *line, size_t length);

#endif
