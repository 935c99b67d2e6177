/*
 * The forward-path of a recipient, for listeners that take mail for certain domains only: the
 * relay must find the domain that the backend will find, however that one reads. Therefore
 * little passes, and nothing is repaired.
 */
#include "proxy/smtp/forward_path.h"

#include <string.h>
#include <strings.h>

#include "proxy/smtp/command.h"

#define LABEL_LIMIT 63

static const char *const reasons[SMTP_FORWARD_PATH_COUNT] = {
    [SMTP_FORWARD_PATH_OK] = "nothing",
    [SMTP_FORWARD_PATH_SYNTAX] = "syntax error",
    [SMTP_FORWARD_PATH_BYTE] = "control character",
    [SMTP_FORWARD_PATH_EIGHT_BIT] = "not ASCII",
    [SMTP_FORWARD_PATH_ROUTE] = "source route",
    [SMTP_FORWARD_PATH_PERCENT] = "percent hack",
    [SMTP_FORWARD_PATH_BANG] = "bang path",
    [SMTP_FORWARD_PATH_QUOTED] = "quoted local part",
    [SMTP_FORWARD_PATH_TWO_AT] = "more than one @",
    [SMTP_FORWARD_PATH_PIPE] = "pipe or file",
    [SMTP_FORWARD_PATH_LITERAL] = "address literal",
    [SMTP_FORWARD_PATH_NO_DOMAIN] = "no domain",
};

const char *smtp_forward_path_reason(enum smtp_forward_path_status status)
{
    return reasons[status];
}

static enum smtp_forward_path_status judge_bytes(const char *text, size_t length)
{
    enum smtp_forward_path_status status = SMTP_FORWARD_PATH_OK;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < ' ' || byte == 127)
            return SMTP_FORWARD_PATH_BYTE;
        if (byte > 127)
            status = SMTP_FORWARD_PATH_EIGHT_BIT;
    }
    return status;
}

static bool is_alphanumeric(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z');
}

static bool is_one_of(char byte, const char *set)
{
    return byte != '\0' && strchr(set, byte);
}

static bool contains(const char *text, size_t length, const char *part)
{
    return memmem(text, length, part, strlen(part)) != NULL;
}

bool smtp_domain_valid(const char *domain, size_t length)
{
    size_t label = 0;
    if (length == 0 || length > SMTP_DOMAIN_LIMIT)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (domain[i] == '.' && label == 0)
            return false;
        label = domain[i] == '.' ? 0 : label + 1;
        bool plain = is_alphanumeric(domain[i]) || is_one_of(domain[i], ".-_");
        if (!plain || label > LABEL_LIMIT)
            return false;
    }
    return label > 0;
}

/* Anything that sends mail on, or somewhere else than to a mailbox, within a local part. */
static enum smtp_forward_path_status judge_signs(const char *text, size_t length)
{
    if (memchr(text, '%', length))
        return SMTP_FORWARD_PATH_PERCENT;
    if (memchr(text, '!', length))
        return SMTP_FORWARD_PATH_BANG;
    if (length > 0 && (text[0] == '|' || text[0] == '/'))
        return SMTP_FORWARD_PATH_PIPE;
    return contains(text, length, "../") ? SMTP_FORWARD_PATH_PIPE : SMTP_FORWARD_PATH_OK;
}

/* RFC 5322 section 3.2.3, without '%' and '!' */
static bool is_plain(char byte)
{
    return is_alphanumeric(byte) || is_one_of(byte, "#$&'*+-/=?^_`{|}~.");
}

static bool all_plain(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_plain(text[i]))
            return false;
    return length > 0 && length <= SMTP_DOMAIN_LIMIT;
}

/* Quotes about what needs none are allowed, and about dots that do. */
static enum smtp_forward_path_status judge_quoted(const char *text, size_t length)
{
    if (!all_plain(text, length))
        return SMTP_FORWARD_PATH_QUOTED;
    return judge_signs(text, length) == SMTP_FORWARD_PATH_OK ? SMTP_FORWARD_PATH_OK
                                                             : SMTP_FORWARD_PATH_QUOTED;
}

static enum smtp_forward_path_status judge_unquoted(const char *text, size_t length)
{
    enum smtp_forward_path_status status = judge_signs(text, length);
    if (status != SMTP_FORWARD_PATH_OK)
        return status;
    bool dots = length > 0 && text[0] != '.' && text[length - 1] != '.' &&
                !contains(text, length, "..");
    return dots && all_plain(text, length) ? SMTP_FORWARD_PATH_OK : SMTP_FORWARD_PATH_SYNTAX;
}

static enum smtp_forward_path_status read_local_part(const char *text, size_t length,
                                                     struct smtp_forward_path *out)
{
    bool quoted = length >= 2 && text[0] == '"' && text[length - 1] == '"';
    out->local_part = quoted ? text + 1 : text;
    out->local_part_length = quoted ? length - 2 : length;
    if (quoted)
        return judge_quoted(out->local_part, out->local_part_length);
    return memchr(text, '"', length) ? SMTP_FORWARD_PATH_QUOTED : judge_unquoted(text, length);
}

static enum smtp_forward_path_status read_domain(const char *text, size_t length,
                                                 struct smtp_forward_path *out)
{
    out->domain = text;
    out->domain_length = length;
    if (length > 0 && text[0] == '[')
        return SMTP_FORWARD_PATH_LITERAL;
    return smtp_domain_valid(text, length) ? SMTP_FORWARD_PATH_OK : SMTP_FORWARD_PATH_SYNTAX;
}

static enum smtp_forward_path_status read_mailbox(const char *text, size_t length,
                                                  struct smtp_forward_path *out)
{
    static const char postmaster[] = "postmaster";
    if (length > 0 && text[0] == '@')
        return SMTP_FORWARD_PATH_ROUTE;
    const char *at = memrchr(text, '@', length);
    size_t local = at ? (size_t)(at - text) : length;
    if (text[0] != '"' && memchr(text, '@', local))
        return SMTP_FORWARD_PATH_TWO_AT;

    enum smtp_forward_path_status status = read_local_part(text, local, out);
    if (status != SMTP_FORWARD_PATH_OK)
        return status;
    if (at)
        return read_domain(at + 1, length - local - 1, out);
    out->domain = NULL;
    out->domain_length = 0;
    bool is_postmaster = length == sizeof postmaster - 1 &&
                         strncasecmp(text, postmaster, sizeof postmaster - 1) == 0;
    return is_postmaster ? SMTP_FORWARD_PATH_OK : SMTP_FORWARD_PATH_NO_DOMAIN;
}

/* Nothing in which a server that looks for another path's end would find one. */
static bool parameters_valid(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        if (text[at++] != ' ')
            return false;
        const char *space = memchr(text + at, ' ', length - at);
        size_t word = (space ? (size_t)(space - text) : length) - at;
        size_t keyword = smtp_keyword_length(text + at, word);
        if (word > 0 && (keyword == 0 || (keyword < word && text[at + keyword] != '=')))
            return false;
        at += word;
    }
    return !memchr(text, '<', length) && !memchr(text, '>', length) &&
           !memchr(text, '"', length) && !memchr(text, '\\', length);
}

enum smtp_forward_path_status smtp_forward_path_parse_address(const char *address,
                                                              size_t length,
                                                              struct smtp_forward_path *out)
{
    struct smtp_forward_path path;
    enum smtp_forward_path_status status = judge_bytes(address, length);
    if (status == SMTP_FORWARD_PATH_OK)
        status = length > 0 ? read_mailbox(address, length, &path) : SMTP_FORWARD_PATH_SYNTAX;
    if (status == SMTP_FORWARD_PATH_OK)
        *out = path;
    return status;
}

enum smtp_forward_path_status smtp_forward_path_parse(const char *arguments, size_t length,
                                                      struct smtp_forward_path *out)
{
    static const char to[] = "TO:";
    size_t at = sizeof to - 1;
    enum smtp_forward_path_status status = judge_bytes(arguments, length);
    if (status == SMTP_FORWARD_PATH_BYTE)
        return status;
    if (length < at || strncasecmp(arguments, to, at) != 0)
        return SMTP_FORWARD_PATH_SYNTAX;
    while (at < length && arguments[at] == ' ')
        at++;
    const char *end =
        at < length && arguments[at] == '<' ? memchr(arguments + at, '>', length - at) : NULL;
    if (!end)
        return SMTP_FORWARD_PATH_SYNTAX;
    const char *path = arguments + at + 1, *parameters = end + 1;
    if (!parameters_valid(parameters, (size_t)(arguments + length - parameters)))
        return SMTP_FORWARD_PATH_SYNTAX;
    return smtp_forward_path_parse_address(path, (size_t)(end - path), out);
}
