/*
 * The grammar (config_parser.h), by recursive descent over the tokens of config_lexer.c. Called
 * by config.c for each file. After a fault it goes on with the next line, or with the next
 * brace where one must be missing.
 */
#include "proxy/config_parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config_lexer.h"

#define AHEAD 3

struct parser {
    struct config_lexer lexer;
    struct config_token ahead[AHEAD]; /* read, but not taken yet */
    size_t ahead_count;
    struct config_word section; /* the head of the one that is open; line 0: none is */
    unsigned missing;           /* braces that were missing: as many may be too many later */
    const char *key;            /* that is being read, or NULL */
    struct config_word last;    /* the key before this one */
    unsigned last_line;         /* where its value ended */
    struct config_word *values; /* of the list that is being read */
    size_t value_count, value_room;
    const struct config_parser_calls *calls;
    void *context;
};

static void on_lexer_fault(void *context, unsigned line, unsigned column, const char *why)
{
    const struct parser *parser = context;
    parser->calls->fault(parser->context, line, column, parser->key, why);
}

static const char *on_lexer_variable(void *context, const char *name)
{
    const struct parser *parser = context;
    return parser->calls->variable(parser->context, name);
}

static void fault(const struct parser *parser, const struct config_word *place, const char *key,
                  const char *why)
{
    parser->calls->fault(parser->context, place->line, place->column, key, why);
}

/* The token after `distance` others. */
static const struct config_token *peek(struct parser *parser, size_t distance)
{
    while (parser->ahead_count <= distance)
        parser->ahead[parser->ahead_count++] = config_lexer_next(&parser->lexer);
    return &parser->ahead[distance];
}

static struct config_token take(struct parser *parser)
{
    struct config_token token = *peek(parser, 0);
    parser->ahead_count--;
    memmove(parser->ahead, parser->ahead + 1, parser->ahead_count * sizeof token);
    return token;
}

static bool is_word(struct parser *parser, size_t distance)
{
    return peek(parser, distance)->kind == CONFIG_TOKEN_WORD;
}

static bool is_mark(struct parser *parser, size_t distance, char mark)
{
    return peek(parser, distance)->kind == mark;
}

/* Does a key or a section begin with the next token, on a line of its own? */
static bool begins_item(struct parser *parser, unsigned line)
{
    if (!is_word(parser, 0) || peek(parser, 0)->word.line == line)
        return false;
    unsigned own = peek(parser, 0)->word.line;
    bool titled = is_word(parser, 1) && peek(parser, 1)->word.line == own;
    return is_mark(parser, 1, '=') || is_mark(parser, 1, '{') ||
           (titled && is_mark(parser, 2, '{'));
}

/* Passes over what else stands on the line, and over all that is in braces which open there. */
static void skip_line(struct parser *parser, unsigned line)
{
    unsigned depth = 0;
    while (!is_mark(parser, 0, CONFIG_TOKEN_END) &&
           (depth > 0 || (peek(parser, 0)->word.line == line && !is_mark(parser, 0, '}')))) {
        char kind = take(parser).kind;
        depth += kind == '{';
        depth -= kind == '}' && depth > 0;
    }
}

/* Passes over the rest of what is in braces, and the last one. */
static void skip_block(struct parser *parser)
{
    unsigned depth = 1;
    while (depth > 0 && !is_mark(parser, 0, CONFIG_TOKEN_END)) {
        char kind = take(parser).kind;
        depth += kind == '{';
        depth -= kind == '}';
    }
}

static bool add_value(struct parser *parser, const struct config_word *word)
{
    if (parser->value_count == parser->value_room) {
        size_t room = 2 * parser->value_room + 8;
        struct config_word *grown = reallocarray(parser->values, room, sizeof *grown);
        if (!grown)
            return false;
        parser->values = grown;
        parser->value_room = room;
    }
    parser->values[parser->value_count++] = *word;
    return true;
}

/* An element of a list and the comma after it. Returns what is wrong, or NULL. */
static const char *parse_element(struct parser *parser, bool *bad)
{
    struct config_token token = take(parser);
    *bad |= token.bad;
    if (token.kind == ',')
        return "there is a comma too many";
    if (token.kind != CONFIG_TOKEN_WORD)
        return "a list has words or strings as its elements";
    if (!add_value(parser, &token.word))
        return "out of memory";
    if (is_mark(parser, 0, ','))
        (void)take(parser);
    else if (is_word(parser, 0) && !begins_item(parser, token.word.line))
        return "there is no comma after this element";
    return NULL;
}

/* Returns true if there was no fault. */
static bool parse_list(struct parser *parser, const struct config_word *key)
{
    struct config_word open = take(parser).word;
    unsigned line = open.line;
    bool bad = false;
    parser->value_count = 0;
    while (!is_mark(parser, 0, '}')) {
        if (is_mark(parser, 0, CONFIG_TOKEN_END) || begins_item(parser, line)) {
            fault(parser, &open, key->text, "the list is not closed: its \"}\" is missing");
            return false;
        }
        struct config_word place = peek(parser, 0)->word;
        const char *why = parse_element(parser, &bad);
        if (why)
            fault(parser, &place, key->text, why);
        bad |= why != NULL;
        line = place.line;
    }
    parser->last_line = take(parser).word.line;
    return !bad;
}

/* One word. Returns true if there was no fault. */
static bool parse_single(struct parser *parser, const struct config_word *key,
                         const struct config_word *equals)
{
    parser->value_count = 0;
    if (is_word(parser, 0) && !begins_item(parser, equals->line)) {
        struct config_token token = take(parser);
        parser->last_line = token.word.line;
        if (!token.word.quoted && strcmp(token.word.text, "[") == 0) {
            fault(parser, &token.word, key->text, "a list stands in braces: {\"...\"}");
            skip_line(parser, token.word.line);
            return false;
        }
        return !token.bad && add_value(parser, &token.word);
    }
    fault(parser, equals, key->text, "the value is missing after \"=\"");
    if (is_mark(parser, 0, '='))
        skip_line(parser, equals->line);
    return false;
}

static void parse_value(struct parser *parser, const struct config_word *key)
{
    struct config_word equals = take(parser).word;
    struct config_value value = {0};
    parser->key = key->text;
    parser->last = *key;
    parser->last_line = equals.line;
    value.is_list = is_mark(parser, 0, '{');
    value.is_bad =
        value.is_list ? !parse_list(parser, key) : !parse_single(parser, key, &equals);
    if (!value.is_bad) {
        value.words = parser->values;
        value.count = parser->value_count;
    }
    parser->calls->set(parser->context, key, &value);
    parser->key = NULL;
}

static void end_section(struct parser *parser)
{
    parser->section.line = 0;
    parser->calls->end(parser->context);
}

static void parse_head(struct parser *parser, const struct config_word *name)
{
    char why[128];
    bool titled = is_word(parser, 0);
    struct config_token title = {0};
    if (titled)
        title = take(parser);
    (void)take(parser);
    if (!parser->calls->knows(parser->context, name)) {
        parser->calls->unknown(parser->context, name);
        skip_block(parser);
        return;
    }
    if (parser->section.line > 0) {
        snprintf(why, sizeof why,
                 "stands inside of section %.32s of line %u: is a brace \"}\" missing above?",
                 parser->section.text, parser->section.line);
        end_section(parser);
        fault(parser, name, name->text, why);
        parser->missing++;
    }
    parser->section = *name;
    parser->calls->begin(parser->context, name, titled ? &title.word : NULL);
}

static void parse_include(struct parser *parser, const struct config_word *word)
{
    struct config_token pattern = take(parser);
    if (parser->section.line > 0)
        fault(parser, word, word->text, "stands outside of sections only");
    else if (!pattern.bad)
        parser->calls->include(parser->context, &pattern.word);
}

/* What is missing after a word where neither "=" nor "{" comes after it. */
static const char *missing_after(const struct parser *parser, const struct config_word *word)
{
    size_t length = strlen(word->text);
    if (word->quoted)
        return "a key comes before \"=\", and its value after it";
    if (word->text[0] == '[')
        return "a section is written as: tls { ... }";
    if (length > 1 && word->text[length - 1] == ':')
        return "\"=\" comes after a key, and no \":\"";
    return parser->calls->knows(parser->context, word) ? "there is no \"{\" after it"
                                                       : "there is no \"=\" after it";
}

static void report_word(struct parser *parser, const struct config_token *token)
{
    const struct config_word *word = &token->word;
    bool plain = !word->quoted && word->text[0] != '[' && !strchr(word->text, ':');
    if (word->line == parser->last_line)
        fault(parser, word, parser->last.text,
              "there is more after the value: one with spaces stands in quotes");
    else if (!is_word(parser, 0) || !peek(parser, 0)->bad)
        fault(parser, word, plain ? word->text : NULL, missing_after(parser, word));
    skip_line(parser, word->line);
}

static void parse_item(struct parser *parser, const struct config_token *token)
{
    bool is_include = !token->word.quoted && strcmp(token->word.text, "include") == 0;
    if (token->bad)
        skip_line(parser, token->word.line);
    else if (is_include && is_word(parser, 0) && !is_mark(parser, 1, '{'))
        parse_include(parser, &token->word);
    else if (is_mark(parser, 0, '='))
        parse_value(parser, &token->word);
    else if (is_mark(parser, 0, '{') || (is_word(parser, 0) && is_mark(parser, 1, '{')))
        parse_head(parser, &token->word);
    else
        report_word(parser, token);
}

static void parse_brace(struct parser *parser, const struct config_word *place)
{
    if (parser->section.line > 0)
        end_section(parser);
    else if (parser->missing > 0)
        parser->missing--;
    else
        fault(parser, place, NULL, "no section is open that this \"}\" could close");
}

/* A mark where a key or a section should begin. */
static void report_mark(struct parser *parser, const struct config_token *token)
{
    if (token->kind == ',' && token->word.line == parser->last_line)
        fault(parser, &token->word, parser->last.text,
              "a comma comes between the elements of a list only");
    else
        fault(parser, &token->word, NULL,
              token->kind == '=' ? "there is no key before \"=\""
                                 : "a key or the name of a section is missing here");
    unsigned line = token->word.line;
    if (token->kind == '{')
        parser->missing++;
    else if (token->kind == '=')
        skip_line(parser, line);
}

static void parse_items(struct parser *parser)
{
    struct config_token token;
    while ((token = take(parser)).kind != CONFIG_TOKEN_END) {
        if (token.kind == CONFIG_TOKEN_WORD)
            parse_item(parser, &token);
        else if (token.kind == '}')
            parse_brace(parser, &token.word);
        else
            report_mark(parser, &token);
    }
    if (parser->section.line == 0)
        return;
    fault(parser, &parser->section, NULL, "the section is not closed: its \"}\" is missing");
    end_section(parser);
}

void config_parse(const char *text, size_t length, const struct config_parser_calls *calls,
                  void *context)
{
    struct parser parser = {.calls = calls, .context = context};
    /* Each word is written with a NUL, and has at least a character of its own. */
    char *words = malloc(2 * length + 1);
    if (!words) {
        calls->fault(context, 0, 0, NULL, "out of memory");
        return;
    }
    parser.lexer = (struct config_lexer){.at = text,
                                         .end = text + length,
                                         .line_start = text,
                                         .out = words,
                                         .line = 1,
                                         .fault = on_lexer_fault,
                                         .variable = on_lexer_variable,
                                         .context = &parser};
    if (config_lexer_begin(&parser.lexer))
        parse_items(&parser);
    config_lexer_end(&parser.lexer);
    free(parser.values);
    free(words);
}
