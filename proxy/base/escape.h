/*
 * Makes any bytes safe to print inside one field of one log line (threat 17).
 * Pure. What is left as it is: printable ASCII, and valid UTF-8 that neither
 * ends a line, nor changes how the rest of it is shown, nor shows as nothing or as a blank.
 */
#ifndef POSTERN_BASE_ESCAPE_H
#define POSTERN_BASE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

enum escape_style {
    ESCAPE_PROSE,  /* for people: quotes stay, everything else as ESCAPE_LOGFMT */
    ESCAPE_LOGFMT, /* inside double quotes: \" \\ \n \r \t, \xHH a byte, \uHHHH a character */
    ESCAPE_JSON,   /* inside double quotes (RFC 8259 section 7); a stray byte becomes \u00HH */
    ESCAPE_MASK,   /* every unsafe byte or character becomes one '?'; quotes stay */
};

/*
 * Writes as much of `in` as fits into `size` bytes and sets *written; no NUL is added, and an
 * escape or a character is never cut in two. Returns how many bytes of `in` that were.
 */
size_t escape(enum escape_style style, const char *in, size_t length, char *out, size_t size,
              size_t *written);

/* May this stand in logfmt without quotes? */
bool escape_is_word(const char *in, size_t length);

#endif
