/*
 * The command line of a backend that is a program, as the configuration
 * writes it: "/usr/sbin/exim4 -bs -oMa %{address}.%{port} -oMai %{login}".
 *
 * No shell sees it. It is split into words once; what a client can influence
 * is put in later, inside the word that asks for it, and can neither make a
 * word of its own nor turn one into an option. Pure, no allocation.
 *
 *   words      are parted by spaces
 *   "…" '…'    hold spaces; in "…" a backslash stands before " or \
 *   \c         outside quotes: c as it is
 *   %{name}    a value, below; %% is a percent sign
 */
#ifndef POSTERN_PROGRAM_LINE_H
#define POSTERN_PROGRAM_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

#define PROGRAM_LINE_LIMIT 1024 /* bytes of all words, with their NULs */
#define PROGRAM_WORD_LIMIT 64   /* words */

enum program_value {
    PROGRAM_ADDRESS,       /* the client's, without its port */
    PROGRAM_PORT,          /* the client's */
    PROGRAM_HOST,          /* the client's name, or its address where there is none */
    PROGRAM_LOGIN,         /* who has logged in */
    PROGRAM_MECHANISM,     /* how: "PLAIN" */
    PROGRAM_HELO,          /* what followed EHLO */
    PROGRAM_LOCAL_ADDRESS, /* where the client connected to */
    PROGRAM_LOCAL_PORT,
    PROGRAM_PROTOCOL, /* "esmtpsa" and its like (RFC 3848), in small letters */
    PROGRAM_VALUE_COUNT,
};

/* "login" */
const char *program_value_name(enum program_value value);

/* Words behind one another, each with its NUL; a byte from 1 on is a place for a value. */
struct program_line {
    unsigned words;
    size_t length;
    char text[PROGRAM_LINE_LIMIT];
};

/* How much text a refusal takes, with its NUL. */
#define PROGRAM_WHY_SIZE 128

/*
 * Splits. Returns false, having explained it in `why` ("there is no %{logn}"), if the line is
 * not one: nothing in it, a path that is not absolute or has a value in it, an open quote.
 */
MUST_USE bool program_line_parse(const char *text, struct program_line *out,
                                 char why[static PROGRAM_WHY_SIZE]);

/* The program itself. */
const char *program_line_path(const struct program_line *line);

/* Does the line ask for this value? */
bool program_line_uses(const struct program_line *line, enum program_value value);

/* Expanded words: `arguments` point into `text` and end with a NULL. */
#define PROGRAM_TEXT_LIMIT 8192
struct program_arguments {
    char *arguments[PROGRAM_WORD_LIMIT + 1];
    char text[PROGRAM_TEXT_LIMIT];
};

/*
 * Puts values in. Returns false, having explained it in `why`, if a value that is asked for is
 * NULL or empty, if a word would become an option through a value that stands at its beginning,
 * or if it all gets too long.
 */
MUST_USE bool program_line_expand(const struct program_line *line,
                                  const char *const values[static PROGRAM_VALUE_COUNT],
                                  struct program_arguments *out,
                                  char why[static PROGRAM_WHY_SIZE]);

#endif
