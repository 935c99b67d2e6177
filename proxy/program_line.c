/*
 * From a program's line in the configuration to the arguments of one session. The configuration
 * parses it to check it, the opener to use it. A place for a value is kept as one control
 * character, which cannot come from anywhere else: a line with one is refused.
 */
#include "proxy/program_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[PROGRAM_VALUE_COUNT] = {
    [PROGRAM_ADDRESS] = "address",
    [PROGRAM_PORT] = "port",
    [PROGRAM_HOST] = "host",
    [PROGRAM_LOGIN] = "login",
    [PROGRAM_MECHANISM] = "mechanism",
    [PROGRAM_HELO] = "helo",
    [PROGRAM_LOCAL_ADDRESS] = "local_address",
    [PROGRAM_LOCAL_PORT] = "local_port",
    [PROGRAM_PROTOCOL] = "protocol",
};

_Static_assert(PROGRAM_VALUE_COUNT < ' ', "a place is a control character");

const char *program_value_name(enum program_value value)
{
    return names[value];
}

/* Explains, and returns false. */
PRINTF_LIKE(2, 3)
static bool refuse(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, PROGRAM_WHY_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

/* Splitting a line. */
struct splitting {
    const char *at;
    struct program_line *line;
    char quote;   /* the one that is open; NUL: none */
    bool in_word; /* also an empty one, in quotes */
    char *why;
};

static bool put(struct splitting *split, char byte)
{
    struct program_line *line = split->line;
    if (line->length == sizeof line->text)
        return refuse(split->why, "the line is longer than %d bytes", PROGRAM_LINE_LIMIT);
    line->text[line->length++] = byte;
    split->in_word = byte != '\0';
    return true;
}

static bool end_word(struct splitting *split)
{
    if (split->line->words == PROGRAM_WORD_LIMIT)
        return refuse(split->why, "there are more than %d words", PROGRAM_WORD_LIMIT);
    split->line->words++;
    return put(split, '\0');
}

/* A byte from 1 on. */
static char place_of(unsigned value)
{
    return (char)(value + 1);
}

/* Behind a percent sign. */
static bool put_value(struct splitting *split)
{
    const char *name = split->at + 1;
    const char *end = *split->at == '{' ? strchr(name, '}') : NULL;
    if (*split->at == '%') {
        split->at++;
        return put(split, '%');
    }
    if (!end)
        return refuse(split->why, "behind %% stands {name}, or another %%");
    size_t length = (size_t)(end - name);
    split->at = end + 1;
    for (unsigned i = 0; i < PROGRAM_VALUE_COUNT; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return put(split, place_of(i));
    return refuse(split->why, "there is no %%{%.*s}", (int)(length > 40 ? 40 : length), name);
}

static bool put_escaped(struct splitting *split)
{
    char byte = *split->at;
    bool allowed = split->quote == '\0' ? byte != '\0' : byte == '"' || byte == '\\';
    if (!allowed)
        return refuse(split->why, "nothing that a backslash could be for stands behind it");
    split->at++;
    return put(split, byte);
}

/* The next character of the line. */
static bool take(struct splitting *split)
{
    char byte = *split->at++;
    if ((unsigned char)byte < ' ' || byte == 0x7f)
        return refuse(split->why, "there is a control character in the line");
    if (split->quote && byte == split->quote) {
        split->quote = '\0';
        return true;
    }
    if (!split->quote && (byte == '"' || byte == '\'')) {
        split->quote = byte;
        split->in_word = true;
        return true;
    }
    if (!split->quote && byte == ' ')
        return !split->in_word || end_word(split);
    if (byte == '%')
        return put_value(split);
    if (byte == '\\' && split->quote != '\'')
        return put_escaped(split);
    return put(split, byte);
}

static bool is_place(char byte)
{
    return byte >= 1 && byte <= PROGRAM_VALUE_COUNT;
}

static bool check_path(const struct program_line *line, char *why)
{
    if (line->words == 0)
        return refuse(why, "names no program");
    for (const char *at = line->text; *at; at++)
        if (is_place(*at))
            return refuse(why, "which program it is must not depend on the client");
    return line->text[0] == '/' || refuse(why, "the program's path does not begin with /");
}

bool program_line_parse(const char *text, struct program_line *out,
                        char why[static PROGRAM_WHY_SIZE])
{
    struct splitting split = {.at = text, .line = out, .why = why};
    memset(out, 0, sizeof *out);
    while (*split.at)
        if (!take(&split))
            return false;
    if (split.quote)
        return refuse(why, "the quote %c is not closed", split.quote);
    return (!split.in_word || end_word(&split)) && check_path(out, why);
}

const char *program_line_path(const struct program_line *line)
{
    return line->text;
}

bool program_line_uses(const struct program_line *line, enum program_value value)
{
    return memchr(line->text, place_of(value), line->length) != NULL;
}

/* Expanding a line. */
struct expansion {
    const char *const *values;
    struct program_arguments *out;
    size_t length;
    char *why;
};

static bool append(struct expansion *expansion, const char *bytes, size_t count)
{
    if (count > sizeof expansion->out->text - expansion->length)
        return refuse(expansion->why, "the arguments are too long");
    memcpy(expansion->out->text + expansion->length, bytes, count);
    expansion->length += count;
    return true;
}

static bool append_value(struct expansion *expansion, unsigned value)
{
    const char *text = expansion->values[value];
    if (!text || !*text)
        return refuse(expansion->why, "%%{%s} is not known", names[value]);
    return append(expansion, text, strlen(text));
}

/* A word that is an option is one in the configuration already. */
static bool expand_word(struct expansion *expansion, const char *word)
{
    const char *start = expansion->out->text + expansion->length;
    for (const char *at = word; *at; at++)
        if (is_place(*at) ? !append_value(expansion, (unsigned)*at - 1)
                          : !append(expansion, at, 1))
            return false;
    if (!append(expansion, "", 1))
        return false;
    if (*start == '-' && is_place(*word))
        return refuse(expansion->why, "%%{%s} begins like an option",
                      names[(unsigned)*word - 1]);
    return true;
}

bool program_line_expand(const struct program_line *line,
                         const char *const values[static PROGRAM_VALUE_COUNT],
                         struct program_arguments *out, char why[static PROGRAM_WHY_SIZE])
{
    struct expansion expansion = {.values = values, .out = out, .why = why};
    const char *word = line->text;
    for (unsigned i = 0; i < line->words; i++, word += strlen(word) + 1) {
        out->arguments[i] = out->text + expansion.length;
        if (!expand_word(&expansion, word))
            return false;
    }
    out->arguments[line->words] = NULL;
    return true;
}
