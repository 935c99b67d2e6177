/*
 * From the bytes of a configuration file to words and marks. Called by config_parser.c. Reports
 * what can be no part of either, and goes on after it. Owns nothing: words are written into the
 * parser's buffer.
 */
#include "proxy/config_lexer.h"

#include <stdio.h>
#include <string.h>

#define WHY_SIZE 64

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

/* Copies one character of a string. Returns what is wrong with it, or NULL. */
static const char *copy_character(struct config_lexer *lexer, char quote)
{
    if (is_control(*lexer->at))
        return "there is a control character in the string";
    if (*lexer->at == '\\') {
        if (lexer->end - lexer->at < 2 || (lexer->at[1] != '\\' && lexer->at[1] != quote))
            return "after a backslash in a string comes a backslash or the quote only";
        lexer->at++;
    }
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
        const char *why = copy_character(lexer, quote);
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
    token.kind = CONFIG_TOKEN_WORD;
    if (*lexer->at == '"' || *lexer->at == '\'')
        read_string(lexer, &token);
    else
        read_bare(lexer, &token);
    *lexer->out++ = '\0';
    return token;
}
