/*
 * The grammar of a configuration file; knows no key and no section.
 *
 *     file    = { item }
 *     item    = key "=" value | "include" word | name [ title ] "{" { item } "}"
 *     value   = word | "{" [ word { "," word } [ "," ] ] "}"
 *     word    = bare characters | '"' characters '"' | "'" characters "'"
 *
 * Comments are as in C and in shells. A string ends on its line; in it a backslash comes before
 * a backslash or the quote only, in double quotes also before "$". In double quotes ${NAME}
 * stands for the value of a variable, which is neither empty nor has a control character.
 * Sections do not nest. The parser goes on after a fault, so that one run reports all of them.
 */
#ifndef POSTERN_CONFIG_PARSER_H
#define POSTERN_CONFIG_PARSER_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of a string that refers to variables, with their values. */
#define CONFIG_EXPANDED_LIMIT 4096

/* Both count from 1; a column is a character, in UTF-8. */
struct config_word {
    const char *text; /* without its quotes and backslashes; valid until the parser returns */
    unsigned line, column;
    bool quoted;
};

struct config_value {
    const struct config_word *words;
    size_t count;
    bool is_list; /* in braces; otherwise there is one word */
    bool is_bad;  /* has no words: it has a fault, which the parser has reported */
};

/* What the parser calls, in the order of the file. */
struct config_parser_calls {
    void (*set)(void *context, const struct config_word *key, const struct config_value *value);
    /* Is it the name of a section? */
    bool (*knows)(void *context, const struct config_word *name);
    /* A section that it is not; what is in its braces is passed over. */
    void (*unknown)(void *context, const struct config_word *name);
    /* A known one; `title` may be NULL. Each call is followed by one of end(). */
    void (*begin)(void *context, const struct config_word *name,
                  const struct config_word *title);
    void (*end)(void *context);
    /* Outside of sections only. */
    void (*include)(void *context, const struct config_word *pattern);
    /* `key` may be NULL. `why` is an English phrase. */
    void (*fault)(void *context, unsigned line, unsigned column, const char *key,
                  const char *why);
    /* The value of a variable, which stays until the next call; NULL: it is not set. */
    const char *(*variable)(void *context, const char *name);
};

/* Never fails: whatever is wrong with the text goes to calls->fault. */
void config_parse(const char *text, size_t length, const struct config_parser_calls *calls,
                  void *context);

#endif
