/* Base64 (RFC 4648 section 4) as SASL uses it: strict, one line, padded. Pure. */
#ifndef POSTERN_AUTH_BASE64_H
#define POSTERN_AUTH_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

/* Bytes that `length` characters can decode to, at most. */
#define BASE64_DECODED_SIZE(length) ((length) / 4 * 3)

/*
 * Decodes `length` characters into `out` (BASE64_DECODED_SIZE(length) bytes). Returns false,
 * with *out_length 0 and nothing readable left in `out`, for wrong length, alphabet or padding,
 * or bits behind the end that are not zero.
 */
MUST_USE bool base64_decode(const char *text, size_t length, char *out, size_t *out_length);

#endif
