/*
 * xtext (RFC 3461 section 4): '+', '=' and all but printable ASCII become "+XX", and so do
 * quotes, backslashes, parentheses and angle brackets, which need not. Pure.
 */
#ifndef POSTERN_SMTP_XTEXT_H
#define POSTERN_SMTP_XTEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Encodes into `out` (room for `size` bytes; no NUL is added) and sets *out_length.
 * Returns false, with *out_length 0, if it does not fit.
 */
__attribute__((warn_unused_result)) bool
smtp_xtext_encode(const char *bytes, size_t length, char *out, size_t size, size_t *out_length);

#endif
