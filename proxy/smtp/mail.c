/*
 * MAIL FROM without AUTH= (RFC 4954 section 5; promise 3): only Postern says who a client is.
 * What a lenient backend might split in another place than this does is refused, not guessed
 * at.
 */
#include <string.h>
#include <strings.h>

#include "proxy/smtp/command.h"

static const char auth[] = "AUTH";
#define AUTH_LENGTH (sizeof auth - 1)

/* A backend that takes no notice of quotes would read a parameter here. */
static bool looks_like_auth(const char *text, size_t length)
{
    return length >= AUTH_LENGTH && strncasecmp(text, auth, AUTH_LENGTH) == 0;
}

/* The length of a quoted string with its quotes; 0: it does not end, or can be read in two
 * ways. */
static size_t quoted_length(const char *text, size_t length)
{
    for (size_t i = 1; i < length; i++) {
        switch (text[i]) {
        case '"':
            return i + 1;
        case '\\':
            if (++i >= length || text[i] == '<' || text[i] == '>' || text[i] == '\t')
                return 0;
            break;
        case ' ':
            if (looks_like_auth(text + i + 1, length - i - 1))
                return 0;
            break;
        case '<':
        case '>':
        case '\t':
            return 0;
        default:
            break;
        }
    }
    return 0;
}

/* The length of "<path>" with its brackets; 0: it is none. */
static size_t bracketed_length(const char *text, size_t length)
{
    for (size_t i = 1; i < length;) {
        size_t step = 1;
        switch (text[i]) {
        case '>':
            return i + 1;
        case '"':
            step = quoted_length(text + i, length - i);
            break;
        case '<':
        case ' ':
        case '\t':
        case '\\':
            return 0;
        default:
            break;
        }
        if (step == 0)
            return 0;
        i += step;
    }
    return 0;
}

/* The length of a path without brackets, as old devices send it; 0: it is none. */
static size_t bare_length(const char *text, size_t length)
{
    size_t end = 0;
    while (end < length && text[end] != ' ') {
        if (strchr("\"<>\\\t", text[end]))
            return 0;
        end++;
    }
    return end;
}

/* The length of "FROM:" and the path behind it; 0: syntax error. */
static size_t path_end(const char *arguments, size_t length)
{
    static const char from[] = "FROM:";
    size_t at = sizeof from - 1;
    if (length < at || strncasecmp(arguments, from, at) != 0)
        return 0;
    while (at < length && arguments[at] == ' ')
        at++;
    if (at == length)
        return 0;
    size_t path = arguments[at] == '<' ? bracketed_length(arguments + at, length - at)
                                       : bare_length(arguments + at, length - at);
    return path > 0 ? at + path : 0;
}

static bool is_auth(const char *parameter, size_t length)
{
    const char *sign = memchr(parameter, '=', length);
    size_t name = sign ? (size_t)(sign - parameter) : length;
    return name == AUTH_LENGTH && strncasecmp(parameter, auth, AUTH_LENGTH) == 0;
}

/* Copies what follows the path, parameter by parameter; false: syntax error. */
static bool copy_parameters(const char *text, size_t length, char *out, size_t *out_length)
{
    size_t at = 0;
    if (length > 0 && text[0] != ' ')
        return false;
    if (memchr(text, '\t', length))
        return false;
    while (at < length) {
        size_t start = at;
        while (at < length && text[at] == ' ')
            at++;
        size_t word = at;
        while (at < length && text[at] != ' ')
            at++;
        if (is_auth(text + word, at - word))
            continue;
        memcpy(out + *out_length, text + start, at - start);
        *out_length += at - start;
    }
    return true;
}

enum smtp_mail_status smtp_mail_strip_auth(const char *arguments, size_t length, char *out,
                                           size_t *out_length)
{
    size_t path = path_end(arguments, length);
    *out_length = 0;
    if (path == 0)
        return SMTP_MAIL_SYNTAX;
    memcpy(out, arguments, path);
    *out_length = path;
    return copy_parameters(arguments + path, length - path, out, out_length) ? SMTP_MAIL_OK
                                                                             : SMTP_MAIL_SYNTAX;
}
