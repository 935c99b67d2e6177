/*
 * The scanner of chunks (RFC 3030). A chunk has a size, so what is wrong in it
 * cannot be repaired, only refused: a bare CR, a bare LF, NUL. Pure.
 */
#ifndef POSTERN_SMTP_CHUNK_H
#define POSTERN_SMTP_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/smtp/data.h"

/* What the chunks of one message have come to. A CRLF may lie between two chunks. */
struct smtp_chunk {
    uint8_t position; /* enum smtp_data_position: LINE_START, TEXT, DOT or CR */
};

/* The state at the start of a message. */
#define SMTP_CHUNK_START ((struct smtp_chunk){.position = SMTP_DATA_LINE_START})

/* Scans the next bytes of a message, in pieces of any size. Returns false if there is a bare
 * CR, a bare LF or a NUL among them; the state is then of no more use. */
__attribute__((warn_unused_result)) bool smtp_chunk_scan(struct smtp_chunk *chunk,
                                                         const char *in, size_t length);

/* May the message end here? Not after a CR whose LF has not come. */
bool smtp_chunk_may_end(const struct smtp_chunk *chunk);

#endif
