/* The words and marks of a configuration file. Used by config_parser.c only. */
#ifndef POSTERN_CONFIG_LEXER_H
#define POSTERN_CONFIG_LEXER_H

#include "proxy/config_parser.h"

enum { CONFIG_TOKEN_END, CONFIG_TOKEN_WORD = 'w' };

struct config_token {
    char kind;               /* CONFIG_TOKEN_END, CONFIG_TOKEN_WORD, or one of = { } , */
    bool bad;                /* a word with a fault, which has been reported */
    struct config_word word; /* of the other kinds: its place */
};

struct config_expansion;

struct config_lexer {
    const char *at, *end, *line_start;
    char *out; /* where the next word is written: has room for twice the text */
    unsigned line;
    unsigned fault_line; /* of the last fault: one for each line is enough */
    void (*fault)(void *context, unsigned line, unsigned column, const char *why);
    const char *(*variable)(void *context, const char *name); /* NULL: it is not set */
    void *context;
    struct config_expansion *expansions; /* strings that refer to variables; its own */
    char *limit; /* end of the room, while such a string is written; otherwise NULL */
    char why[160];
};

/* Skips what comes before the first token: a byte order mark is a fault. False: the rest is not
 * text that could be read. */
bool config_lexer_begin(struct config_lexer *lexer);

struct config_token config_lexer_next(struct config_lexer *lexer);

/* Frees the words that refer to variables. */
void config_lexer_end(struct config_lexer *lexer);

#endif
