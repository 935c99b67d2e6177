/*
 * The message scanner (RFC 5321 sections 2.3.8, 4.5.2): finds the one end of
 * a message that every backend agrees on, CRLF.CRLF, and everything that some
 * backend might take for an end.
 *
 * It copies nothing. Bytes that may be passed on as they are, are counted in
 * runs; between two runs stands at most a short insertion. A caller passes on
 *     in[0 .. run), then `insert`
 * and goes on behind `consumed`, until the input is used up.
 *
 *   bare LF             becomes CRLF
 *   bare CR             becomes a space
 *   NUL                 becomes a space
 *   a dot that begins a line only since its bare LF became CRLF, or that is
 *   alone on a line before a bare LF, is stuffed
 *
 * State between calls is a few bytes, so that a message may come in pieces of
 * any size: the result is the same for every way of cutting it up.
 */
#ifndef POSTERN_SMTP_DATA_H
#define POSTERN_SMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum smtp_data_position {
    SMTP_DATA_LINE_START, /* behind CRLF, and at the start of the message */
    SMTP_DATA_TEXT,
    SMTP_DATA_DOT,        /* a dot that began a line, passed on */
    SMTP_DATA_CR,         /* a CR, held back until the next byte is known */
    SMTP_DATA_DOT_CR,     /* the same behind such a dot */
    SMTP_DATA_SOFT_START, /* at a line start made from a bare LF */
    SMTP_DATA_ENDED,
};

/* What the message ends in so far, where that is not CRLF.CRLF. */
enum smtp_data_tail {
    SMTP_DATA_TAIL_TEXT,
    SMTP_DATA_TAIL_DOT,       /* a dot after a bare LF */
    SMTP_DATA_TAIL_FALSE_END, /* a line of a dot alone, with a bare LF before or after it */
};

struct smtp_data {
    uint8_t position;  /* enum smtp_data_position */
    uint8_t tail;      /* enum smtp_data_tail */
    uint64_t repaired; /* bare LF, bare CR and NUL met so far */
};

/* The state at the start of a message. */
#define SMTP_DATA_START ((struct smtp_data){.position = SMTP_DATA_LINE_START})

enum smtp_data_status {
    SMTP_DATA_MORE,  /* the message goes on */
    SMTP_DATA_FOUND, /* run and insertion complete the message with CRLF.CRLF; the rest are
                        commands */
};

struct smtp_data_step {
    size_t run;         /* bytes from the start of the input to pass on */
    const char *insert; /* static; to pass on behind them */
    uint8_t insert_length;
    size_t
        consumed; /* bytes of the input that are dealt with: run or more; 0 only where a CR
                     that was held back from before turns out bare, and goes out as a space */
    enum smtp_data_status status;
};

/* Takes one step. `length` is at least 1. Not to be called again after SMTP_DATA_FOUND. */
void smtp_data_step(struct smtp_data *data, const char *in, size_t length,
                    struct smtp_data_step *step);

/*
 * Is a dot alone on the last line so far, so that a client may think that it has ended its
 * message? For the log only: such a message goes on.
 */
bool smtp_data_seems_ended(const struct smtp_data *data);

/*
 * How many bytes of `in` are ordinary: whole CRLF line ends, no NUL, no end of the message.
 * `in` continues from *position, which is left as it is behind those bytes. Exported for the
 * tests and benchmarks, which hold them against each other: byte by byte; with what every
 * machine of this architecture has; with the best that this machine has, as smtp_data_step()
 * does.
 */
typedef size_t smtp_data_skip(const char *in, size_t length, uint8_t *position);
smtp_data_skip smtp_data_skip_scalar;
smtp_data_skip smtp_data_skip_baseline;
smtp_data_skip smtp_data_skip_best;

#endif
