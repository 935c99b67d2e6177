/*
 * MAIL FROM without the client's AUTH= (RFC 4954 section 5; threat 5), for the relay: only
 * Postern says who a client is. Backends read these arguments in many ways. What one of them
 * could take for an AUTH parameter where this file sees none is refused, not guessed at:
 * control characters, angle brackets or " AUTH" within a path, backslashes outside of quotes, a
 * parameter whose name is no keyword, "AUTH=" behind a sign within another's value.
 */
#include <string.h>
#include <strings.h>

#include "proxy/smtp/command.h"
#include "proxy/smtp/xtext.h"

static const char auth[] = "AUTH";
#define AUTH_LENGTH (sizeof auth - 1)

static bool begins_with_auth(const char *text, size_t length)
{
    return length >= AUTH_LENGTH && strncasecmp(text, auth, AUTH_LENGTH) == 0;
}

static bool has_control(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 127)
            return true;
    return false;
}

/* Would a backend that splits at spaces, whatever is quoted, find a parameter in the path? */
static bool path_hides_auth(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] == ' ' && begins_with_auth(text + i + 1, length - i - 1))
            return true;
    return false;
}

static bool is_keyword_byte(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || byte == '-';
}

/* Or one that looks for the last '>', or for a quote's end, in a parameter? */
static bool parameter_hides_auth(const char *text, size_t length)
{
    for (size_t i = 1; i + AUTH_LENGTH < length; i++)
        if (text[i + AUTH_LENGTH] == '=' && begins_with_auth(text + i, length - i) &&
            !is_keyword_byte(text[i - 1]))
            return true;
    return false;
}

/* The length of a quoted string with its quotes; 0: it does not end, or has a bracket in it. */
static size_t quoted_length(const char *text, size_t length)
{
    for (size_t i = 1; i < length; i++) {
        if (text[i] == '"')
            return i + 1;
        if (text[i] == '\\')
            i++;
        if (i == length || text[i] == '<' || text[i] == '>')
            return 0;
    }
    return 0;
}

static size_t skip_spaces(const char *text, size_t length, size_t at)
{
    while (at < length && text[at] == ' ')
        at++;
    return at;
}

/* The length of "<path>" with its brackets, next to which spaces may stand; 0: it is none. */
static size_t bracketed_length(const char *text, size_t length)
{
    for (size_t i = skip_spaces(text, length, 1); i < length;) {
        size_t step = 1;
        switch (text[i]) {
        case '>':
            return i + 1;
        case '"':
            step = quoted_length(text + i, length - i);
            break;
        case ' ':
            i = skip_spaces(text, length, i);
            return i < length && text[i] == '>' ? i + 1 : 0;
        case '<':
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
        if (strchr("\"<>\\", text[end]))
            return 0;
        end++;
    }
    return end;
}

size_t smtp_path_end(const char *arguments, size_t length, const char *word)
{
    size_t at = strlen(word);
    if (length < at || strncasecmp(arguments, word, at) != 0)
        return 0;
    at = skip_spaces(arguments, length, at);
    if (at == length)
        return 0;
    size_t path = arguments[at] == '<' ? bracketed_length(arguments + at, length - at)
                                       : bare_length(arguments + at, length - at);
    return path > 0 ? at + path : 0;
}

/* Writes `word` and the path after it, which end at `end`, without spaces; returns the length.
 */
static size_t copy_path(const char *arguments, size_t end, const char *word, char *out)
{
    size_t at = strlen(word), length = at;
    memcpy(out, arguments, at);
    at = skip_spaces(arguments, end, at);
    bool bracketed = arguments[at] == '<';
    if (bracketed) {
        out[length++] = '<';
        at = skip_spaces(arguments, end, at + 1);
        end--;
        while (end > at && arguments[end - 1] == ' ')
            end--;
    }
    memcpy(out + length, arguments + at, end - at);
    length += end - at;
    if (bracketed)
        out[length++] = '>';
    return length;
}

/* The next parameter from *at on: its length, and *at becomes where it begins. 0: there is
 * none.
 */
static size_t next_parameter(const char *text, size_t length, size_t *at)
{
    *at = skip_spaces(text, length, *at);
    size_t end = *at;
    while (end < length && text[end] != ' ')
        end++;
    return end - *at;
}

static void append_parameter(const char *text, size_t length, char *out, size_t *out_length)
{
    out[(*out_length)++] = ' ';
    memcpy(out + *out_length, text, length);
    *out_length += length;
}

size_t smtp_envelope_canonical(const char *arguments, size_t length, const char *word,
                               char *out)
{
    size_t end = has_control(arguments, length) ? 0 : smtp_path_end(arguments, length, word);
    if (end == 0 || (end < length && arguments[end] != ' '))
        return 0;
    size_t written = copy_path(arguments, end, word, out), parameter;
    while ((parameter = next_parameter(arguments, length, &end)) > 0) {
        append_parameter(arguments + end, parameter, out, &written);
        end += parameter;
    }
    return written;
}

const char *smtp_envelope_address(const char *arguments, size_t length, const char *word,
                                  size_t *address_length)
{
    size_t end = smtp_path_end(arguments, length, word), start = strlen(word);
    if (end == 0) {
        *address_length = length;
        return arguments;
    }
    start = skip_spaces(arguments, end, start);
    if (arguments[start] == '<' && arguments[end - 1] == '>') {
        start++;
        end--;
    }
    *address_length = end - start;
    return arguments + start;
}

size_t smtp_keyword_length(const char *parameter, size_t length)
{
    size_t end = 0;
    while (end < length && is_keyword_byte(parameter[end]))
        end++;
    return end;
}

enum parameter { PARAMETER_KEPT, PARAMETER_AUTH, PARAMETER_BROKEN };

static enum parameter judge_parameter(const char *text, size_t length)
{
    size_t keyword = smtp_keyword_length(text, length);
    if (keyword == 0 || (keyword < length && text[keyword] != '='))
        return PARAMETER_BROKEN;
    if (keyword == AUTH_LENGTH && begins_with_auth(text, keyword))
        return PARAMETER_AUTH;
    return parameter_hides_auth(text, length) ? PARAMETER_BROKEN : PARAMETER_KEPT;
}

/* Copies what follows the path, parameter by parameter; false: syntax error. */
static bool copy_parameters(const char *text, size_t length, char *out, size_t *out_length)
{
    size_t at = 0, parameter;
    if (length > 0 && text[0] != ' ')
        return false;
    while ((parameter = next_parameter(text, length, &at)) > 0) {
        enum parameter kind = judge_parameter(text + at, parameter);
        if (kind == PARAMETER_BROKEN)
            return false;
        if (kind == PARAMETER_KEPT)
            append_parameter(text + at, parameter, out, out_length);
        at += parameter;
    }
    return true;
}

enum smtp_mail_status smtp_mail_strip_auth(const char *arguments, size_t length, char *out,
                                           size_t *out_length)
{
    *out_length = 0;
    size_t path =
        has_control(arguments, length) ? 0 : smtp_path_end(arguments, length, "FROM:");
    if (path == 0 || path_hides_auth(arguments, path))
        return SMTP_MAIL_SYNTAX;
    *out_length = copy_path(arguments, path, "FROM:", out);
    if (copy_parameters(arguments + path, length - path, out, out_length))
        return SMTP_MAIL_OK;
    *out_length = 0;
    return SMTP_MAIL_SYNTAX;
}

static bool is_nobody(const char *login)
{
    return !login[0] || strcmp(login, "<>") == 0;
}

enum smtp_mail_status smtp_mail_set_auth(const char *arguments, size_t length,
                                         const char *login, char *out, size_t *out_length)
{
    static const char parameter[] = " AUTH=";
    size_t stripped = 0, encoded;
    *out_length = 0;
    if (is_nobody(login))
        return SMTP_MAIL_LOGIN;
    if (length > SMTP_MAIL_ARGUMENTS_LIMIT)
        return SMTP_MAIL_LONG;
    if (smtp_mail_strip_auth(arguments, length, out, &stripped) != SMTP_MAIL_OK)
        return SMTP_MAIL_SYNTAX;

    size_t start = stripped + sizeof parameter - 1;
    if (start > SMTP_MAIL_ARGUMENTS_LIMIT ||
        !smtp_xtext_encode(login, strlen(login), out + start, SMTP_MAIL_ARGUMENTS_LIMIT - start,
                           &encoded))
        return SMTP_MAIL_LONG;
    memcpy(out + stripped, parameter, sizeof parameter - 1);
    *out_length = start + encoded;
    return SMTP_MAIL_OK;
}
