/*
 * Any text as a configuration file: the parser calls in pairs, each place that it names is one
 * of the text, and no word has what a word cannot have.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config_parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    const char *text;
    size_t length;
    unsigned lines;
    bool open;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Does the word begin at this place of the text? */
static bool begins_at(const struct config_word *word, const char *at)
{
    return word->quoted ? *at == '"' || *at == '\'' : *word->text == *at;
}

/* Words come back from the text, at the place that they name. Bytes in the middle of a
 * character have the column of its first one. */
static void check_word(const struct seen *seen, const struct config_word *word)
{
    const char *at = seen->text, *end = seen->text + seen->length;
    unsigned column = 1;
    bool found = false;
    require(word->line >= 1 && word->line <= seen->lines && word->column >= 1);
    for (unsigned line = 1; line < word->line; line++)
        at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
    if (word->line == 1 && seen->length >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    for (; at < end && *at != '\n' && column <= word->column; at++) {
        found |= column == word->column && begins_at(word, at);
        column += ((unsigned char)*at & 0xc0) != 0x80;
    }
    require(found);
    for (const char *byte = word->text; *byte; byte++)
        require((unsigned char)*byte >= ' ' || *byte == '\t');
    if (!word->quoted)
        require(*word->text && !strpbrk(word->text, " \t={},\"'#*$|\\+"));
}

static void on_set(void *context, const struct config_word *key,
                   const struct config_value *value)
{
    const struct seen *seen = context;
    check_word(seen, key);
    require(!value->is_bad || value->count == 0);
    require(value->is_bad || value->is_list || value->count == 1);
    for (size_t i = 0; i < value->count; i++)
        check_word(seen, &value->words[i]);
}

static bool on_knows(void *context, const struct config_word *name)
{
    check_word(context, name);
    return strlen(name->text) % 2 == 1;
}

static void on_unknown(void *context, const struct config_word *name)
{
    check_word(context, name);
}

static void on_begin(void *context, const struct config_word *name,
                     const struct config_word *title)
{
    struct seen *seen = context;
    require(!seen->open);
    seen->open = true;
    check_word(seen, name);
    require(!title || title->text);
}

static void on_end(void *context)
{
    struct seen *seen = context;
    require(seen->open);
    seen->open = false;
}

static void on_include(void *context, const struct config_word *pattern)
{
    const struct seen *seen = context;
    require(!seen->open);
    check_word(seen, pattern);
}

static void on_fault(void *context, unsigned line, unsigned column, const char *key,
                     const char *why)
{
    const struct seen *seen = context;
    require(line >= 1 && line <= seen->lines && column >= 1);
    require(why[0] && (!key || strlen(key) <= 2 * seen->length + CONFIG_EXPANDED_LIMIT));
}

/* By its last letter: what would be configuration, what no string may have, what is long. */
static const char *on_variable(void *context, const char *name)
{
    static char longest[CONFIG_EXPANDED_LIMIT + 1];
    static const char *const values[] = {
        NULL, "", "x\" } listen \"y\" { a = ${A} # '", "a\nb = 1", "\xff\xc3", "\\", longest,
    };
    const struct seen *seen = context;
    require(seen->text && *name && !strpbrk(name, "${}\"' "));
    memset(longest, 'l', sizeof longest - 1);
    return values[(unsigned char)name[strlen(name) - 1] % (sizeof values / sizeof values[0])];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct config_parser_calls calls = {
        on_set, on_knows, on_unknown, on_begin, on_end, on_include, on_fault, on_variable};
    char *text = malloc(size + 1); /* the sanitizer sees what is read after its end */
    struct seen seen = {.text = text, .length = size, .lines = 1};
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    for (size_t i = 0; i < size; i++)
        seen.lines += text[i] == '\n';
    char *exact = size ? realloc(text, size) : text;
    require(exact != NULL);
    seen.text = exact;
    config_parse(exact, size, &calls, &seen);
    require(!seen.open);
    free(exact);
    return 0;
}
