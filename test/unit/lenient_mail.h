/*
 * How a lenient backend may read MAIL's arguments: each of these readers is wrong in a way of
 * its own, and none may find an AUTH parameter in what Postern sends. For the unit tests and
 * the fuzzer.
 */
#ifndef POSTERN_TEST_LENIENT_MAIL_H
#define POSTERN_TEST_LENIENT_MAIL_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

/* Where the parameters begin; a reader that finds no path begins behind "FROM:". */
typedef size_t lenient_path(const char *text, size_t length);

#define LENIENT_FROM (sizeof "FROM:" - 1)

static inline size_t lenient_no_path(const char *text, size_t length)
{
    (void)text;
    return length < LENIENT_FROM ? length : LENIENT_FROM;
}

static inline size_t lenient_first_bracket(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] == '>')
            return i + 1;
    return lenient_no_path(text, length);
}

static inline size_t lenient_last_bracket(const char *text, size_t length)
{
    for (size_t i = length; i > 0; i--)
        if (text[i - 1] == '>')
            return i;
    return lenient_no_path(text, length);
}

/* Respects quotes in the path; whether it knows what a backslash is for varies. */
static inline size_t lenient_quoted(const char *text, size_t length, bool escapes)
{
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (escapes && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (text[i] == '>' && !quoted)
            return i + 1;
    }
    return lenient_no_path(text, length);
}

static inline size_t lenient_quotes(const char *text, size_t length)
{
    return lenient_quoted(text, length, false);
}

static inline size_t lenient_quotes_and_escapes(const char *text, size_t length)
{
    return lenient_quoted(text, length, true);
}

static inline bool lenient_is_auth(const char *text, size_t length)
{
    return length >= 5 && strncasecmp(text, "AUTH=", 5) == 0;
}

/* Any white space, or NUL, is a blank to it; what follows the path need not begin with one. */
static inline bool lenient_finds_auth(const char *text, size_t length, lenient_path *path_of)
{
    size_t path = path_of(text, length);
    if (path > LENIENT_FROM && lenient_is_auth(text + path, length - path))
        return true;
    for (size_t i = path; i < length; i++) {
        bool blank = text[i] == '\0' || isspace((unsigned char)text[i]);
        if (blank && lenient_is_auth(text + i + 1, length - i - 1))
            return true;
    }
    return false;
}

/* The first reader that finds an AUTH parameter; NULL: none does. */
static inline const char *lenient_auth_reader(const char *text, size_t length)
{
    static const struct {
        const char *name;
        lenient_path *path_of;
    } readers[] = {
        {"splits at blanks, whatever is quoted", lenient_no_path},
        {"takes the first '>' for the path's end", lenient_first_bracket},
        {"takes the last '>' for the path's end", lenient_last_bracket},
        {"respects quotes, not backslashes", lenient_quotes},
        {"respects quotes and backslashes", lenient_quotes_and_escapes},
    };
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (lenient_finds_auth(text, length, readers[i].path_of))
            return readers[i].name;
    return NULL;
}

#endif
