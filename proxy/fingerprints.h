/*
 * Who a certificate belongs to, by its fingerprint: a file that a postmaster
 * keeps, read with the configuration and asked at AUTH EXTERNAL.
 */
#ifndef POSTERN_FINGERPRINTS_H
#define POSTERN_FINGERPRINTS_H

#include <stdio.h>

#include "proxy/base/compiler.h"

struct fingerprints;

/* Room for what is wrong with a file, with its place. */
#define FINGERPRINTS_ERROR_SIZE 512

/*
 * Reads a file with one certificate on a line: its SHA-256 in hexadecimal (colons are passed
 * over, as openssl writes them), blanks, the name; '#' at the start of a word begins a comment.
 * NULL, with the reason and its place in `error`, if it cannot be read, a line is anything
 * else, or one certificate stands there twice.
 */
MUST_USE struct fingerprints *fingerprints_read(const char *path,
                                                char error[static FINGERPRINTS_ERROR_SIZE]);
/* The same for the content of a file that is called `name` in errors. */
MUST_USE struct fingerprints *
fingerprints_read_lines(FILE *file, const char *name,
                        char error[static FINGERPRINTS_ERROR_SIZE]);
/* NULL is allowed. */
void fingerprints_free(struct fingerprints *fingerprints);

/* The name for 64 digits in lower case; NULL: nobody's. */
const char *fingerprints_find(const struct fingerprints *fingerprints, const char *fingerprint);

#endif
