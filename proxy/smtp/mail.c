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
    while (at < length && arguments[at] == ' ')
        at++;
    if (at == length)
        return 0;
    size_t path = arguments[at] == '<' ? bracketed_length(arguments + at, length - at)
                                       : bare_length(arguments + at, length - at);
    return path > 0 ? at + path : 0;
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
    size_t end = 0;
    for (size_t start = 0; start < length; start = end) {
        size_t word = start;
        while (word < length && text[word] == ' ')
            word++;
        if (word == length)
            return true;
        if (word == start)
            return false;
        for (end = word; end < length && text[end] != ' ';)
            end++;
        enum parameter parameter = judge_parameter(text + word, end - word);
        if (parameter == PARAMETER_BROKEN)
            return false;
        if (parameter == PARAMETER_AUTH)
            continue;
        memcpy(out + *out_length, text + start, end - start);
        *out_length += end - start;
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
    memcpy(out, arguments, path);
    *out_length = path;
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
