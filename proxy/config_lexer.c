/*
 * From the bytes of a configuration file to words and marks. Called by config_parser.c. Reports
 * what can be no part of either, and goes on after it. Words are written into the parser's
 * buffer; a string that refers to variables has memory of its own, as their values may be
 * longer than the text. A value is never read as configuration: it is copied into its string.
 */
#include "proxy/config_lexer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/compiler.h"

#define WHY_SIZE   64
#define NAME_LIMIT 64 /* bytes of a variable's name */

/* A string with the values of its variables. */
struct config_expansion {
    struct config_expansion *next;
    char text[CONFIG_EXPANDED_LIMIT + 1];
};

static bool is_control(char byte)
{
    return ((unsigned char)byte < ' ' && byte != '\t') || byte == 0x7f;
}

static bool begins_with(const struct config_lexer *lexer, const char *prefix)
{
    size_t length = strlen(prefix);
    return (size_t)(lexer->end - lexer->at) >= length && memcmp(lexer->at, prefix, length) == 0;
}

static unsigned column_of(const struct config_lexer *lexer, const char *place)
{
    unsigned column = 1;
    for (const char *at = lexer->line_start; at < place; at++)
        column += ((unsigned char)*at & 0xc0) != 0x80;
    return column;
}

static void report(struct config_lexer *lexer, const char *place, const char *why)
{
    if (lexer->fault_line != lexer->line)
        lexer->fault(lexer->context, lexer->line, column_of(lexer, place), why);
    lexer->fault_line = lexer->line;
}

static void pass(struct config_lexer *lexer)
{
    if (*lexer->at++ == '\n') {
        lexer->line++;
        lexer->line_start = lexer->at;
    }
}

static void skip_line(struct config_lexer *lexer)
{
    while (lexer->at < lexer->end && *lexer->at != '\n')
        lexer->at++;
}

static void skip_block_comment(struct config_lexer *lexer)
{
    const char *close = memmem(lexer->at + 2, (size_t)(lexer->end - lexer->at - 2), "*/", 2);
    if (!close)
        report(lexer, lexer->at, "the comment is not closed");
    const char *after = close ? close + 2 : lexer->end;
    while (lexer->at < after)
        pass(lexer);
}

static bool ends_word(const struct config_lexer *lexer, const char *at)
{
    bool slash = lexer->end - at >= 2 && at[0] == '/' && (at[1] == '/' || at[1] == '*');
    return at == lexer->end || slash || (*at && strchr(" \t\r\n={},\"'#", *at));
}

/* One in the middle of a word is a part of it. */
static bool is_semicolon(const struct config_lexer *lexer)
{
    return *lexer->at == ';' && ends_word(lexer, lexer->at + 1);
}

/* Skips space, comments, and semicolons. */
static void skip_space(struct config_lexer *lexer)
{
    while (lexer->at < lexer->end) {
        if (*lexer->at == '#' || begins_with(lexer, "//")) {
            skip_line(lexer);
        } else if (begins_with(lexer, "/*")) {
            skip_block_comment(lexer);
        } else if (is_semicolon(lexer)) {
            report(lexer, lexer->at, "no \";\" comes after a value: leave it out");
            lexer->at++;
        } else if (strchr(" \t\r\n", *lexer->at) && *lexer->at) {
            pass(lexer);
        } else {
            return;
        }
    }
}

bool config_lexer_begin(struct config_lexer *lexer)
{
    if (begins_with(lexer, "\xff\xfe") || begins_with(lexer, "\xfe\xff")) {
        report(lexer, lexer->at, "the file is in UTF-16: save it in UTF-8");
        return false;
    }
    if (begins_with(lexer, "\xef\xbb\xbf")) {
        report(lexer, lexer->at,
               "the file begins with a byte order mark (BOM): save it without one");
        lexer->line_start = lexer->at += 3;
        lexer->fault_line = 0;
    }
    return true;
}

/* What is wrong with a character outside of strings; NULL: it may be part of a word. */
static const char *fault_of(const struct config_lexer *lexer, char why[static WHY_SIZE])
{
    char byte = *lexer->at;
    if (begins_with(lexer, "\xe2\x80") && lexer->end - lexer->at > 2 &&
        ((unsigned char)lexer->at[2] & 0xf8) == 0x98)
        return "a typographic quote is none here: write \" or '";
    if (begins_with(lexer, "\xc2\xa0"))
        return "a no-break space stands here: write a plain one";
    if ((unsigned char)byte >= 0x80)
        return "a character that is not ASCII stands outside of quotes";
    if (is_control(byte))
        return "a control character stands outside of quotes";
    if (!strchr("*$|\\+()", byte))
        return NULL;
    snprintf(why, WHY_SIZE, "'%c' stands outside of quotes", byte);
    return why;
}

/* The rest of a word with a fault: "${HOME}" and "(\"x\")" are part of it. */
static void read_rest(struct config_lexer *lexer)
{
    unsigned depth = 0;
    while (lexer->at < lexer->end && (!*lexer->at || !strchr(" \t\r\n", *lexer->at)) &&
           (depth > 0 || (*lexer->at != ',' && *lexer->at != '}'))) {
        depth += *lexer->at == '{';
        depth -= *lexer->at == '}';
        *lexer->out++ = *lexer->at++;
    }
}

/* A word without quotes. */
static void read_bare(struct config_lexer *lexer, struct config_token *token)
{
    char room[WHY_SIZE];
    while (!token->bad && !ends_word(lexer, lexer->at) && !is_semicolon(lexer)) {
        const char *why = fault_of(lexer, room);
        if (why)
            report(lexer, lexer->at, why);
        token->bad = why != NULL;
        *lexer->out++ = *lexer->at++;
    }
    if (token->bad)
        read_rest(lexer);
}

static const char too_long[] =
    "with its variables the string has more than " TEXT_OF(CONFIG_EXPANDED_LIMIT) " bytes";

/* Moves what has been read of a string to where values have room. Returns what is wrong, or
 * NULL. */
static const char *begin_expansion(struct config_lexer *lexer, struct config_token *token)
{
    size_t length = (size_t)(lexer->out - token->word.text);
    if (length > CONFIG_EXPANDED_LIMIT)
        return too_long;
    struct config_expansion *expansion = malloc(sizeof *expansion);
    if (!expansion)
        return "out of memory";
    expansion->next = lexer->expansions;
    lexer->expansions = expansion;
    memcpy(expansion->text, token->word.text, length);
    token->word.text = expansion->text;
    lexer->out = expansion->text + length;
    lexer->limit = expansion->text + CONFIG_EXPANDED_LIMIT;
    return NULL;
}

/* Reads "${NAME}". Returns the first byte after it; NULL: it is none. */
static const char *read_reference(const struct config_lexer *lexer,
                                  char name[static NAME_LIMIT + 1])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    const char *at = lexer->at + 2;
    size_t length = 0;
    while (at < lexer->end && *at && length < NAME_LIMIT &&
           (strchr(letters, *at) || (length > 0 && *at >= '0' && *at <= '9')))
        name[length++] = *at++;
    name[length] = '\0';
    return length > 0 && at < lexer->end && *at == '}' ? at + 1 : NULL;
}

/* What is wrong with the value of a variable; NULL: it can be part of a string. */
static const char *fault_of_value(struct config_lexer *lexer, const char *name,
                                  const char *value)
{
    const char *why = !value ? " is not set in the environment" : !*value ? " is empty" : NULL;
    for (const char *byte = value; !why && *byte; byte++)
        if (is_control(*byte))
            why = " has a control character, such as a line end";
    if (!why)
        return NULL;
    snprintf(lexer->why, sizeof lexer->why, "the variable %s%s", name, why);
    return lexer->why;
}

/* Copies the value that a reference stands for. Returns what is wrong, or NULL. */
static const char *copy_value(struct config_lexer *lexer, struct config_token *token)
{
    char name[NAME_LIMIT + 1];
    const char *after = read_reference(lexer, name);
    if (!after)
        return "a reference to a variable is written as ${NAME}; in single quotes it is plain "
               "text";
    const char *value = lexer->variable(lexer->context, name);
    const char *why = fault_of_value(lexer, name, value);
    if (!why && !lexer->limit)
        why = begin_expansion(lexer, token);
    if (why)
        return why;
    size_t length = strlen(value);
    if (length > (size_t)(lexer->limit - lexer->out))
        return too_long;
    memcpy(lexer->out, value, length);
    lexer->out += length;
    lexer->at = after;
    return NULL;
}

/* What may come after a backslash in a string. */
static bool can_be_escaped(char byte, char quote)
{
    return byte == '\\' || byte == quote || (byte == '$' && quote == '"');
}

/* Copies one character of a string. Returns what is wrong with it, or NULL. */
static const char *copy_character(struct config_lexer *lexer, struct config_token *token,
                                  char quote)
{
    if (is_control(*lexer->at))
        return "there is a control character in the string";
    if (quote == '"' && begins_with(lexer, "${"))
        return copy_value(lexer, token);
    if (*lexer->at == '\\') {
        if (lexer->end - lexer->at < 2 || !can_be_escaped(lexer->at[1], quote))
            return quote == '"'
                       ? "after a backslash in a string comes a backslash, the quote or \"$\" "
                         "only"
                       : "after a backslash in a string comes a backslash or the quote only";
        lexer->at++;
    }
    if (lexer->out == lexer->limit)
        return too_long;
    *lexer->out++ = *lexer->at++;
    return NULL;
}

/* A string. One that is not closed is skipped until the end of its line; of one with other
 * faults the first is told, and what is after its closing quote is read. */
static void read_string(struct config_lexer *lexer, struct config_token *token)
{
    const char *open = lexer->at;
    char quote = *lexer->at++;
    token->word.quoted = true;
    while (lexer->at < lexer->end && *lexer->at != '\n' && *lexer->at != quote) {
        const char *why = copy_character(lexer, token, quote);
        if (why && !token->bad)
            report(lexer, lexer->at, why);
        token->bad |= why != NULL;
        lexer->at += why != NULL;
    }
    if (lexer->at < lexer->end && *lexer->at == quote) {
        lexer->at++;
        return;
    }
    if (!token->bad)
        report(lexer, open, "the string is not closed on its line");
    token->bad = true;
    skip_line(lexer);
}

struct config_token config_lexer_next(struct config_lexer *lexer)
{
    skip_space(lexer);
    struct config_token token = {.word = {.text = lexer->out,
                                          .line = lexer->line,
                                          .column = column_of(lexer, lexer->at)}};
    if (lexer->at == lexer->end)
        return token;
    if (*lexer->at && strchr("={},", *lexer->at)) {
        token.kind = *lexer->at++;
        return token;
    }
    char *start = lexer->out;
    token.kind = CONFIG_TOKEN_WORD;
    if (*lexer->at == '"' || *lexer->at == '\'')
        read_string(lexer, &token);
    else
        read_bare(lexer, &token);
    *lexer->out++ = '\0';
    if (lexer->limit)
        lexer->out = start;
    lexer->limit = NULL;
    return token;
}

void config_lexer_end(struct config_lexer *lexer)
{
    while (lexer->expansions) {
        struct config_expansion *expansion = lexer->expansions;
        lexer->expansions = expansion->next;
        free(expansion);
    }
}
