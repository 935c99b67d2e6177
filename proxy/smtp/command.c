/*
 * Command lines. The dialogue asks it before authentication, the relay after it; what it does
 * not recognise, neither lets pass. Never allocates, never changes the line.
 */
#include "proxy/smtp/command.h"

#include <string.h>
#include <strings.h>

struct verb_row {
    const char *name;
    enum smtp_verb verb;
};

static const struct verb_row verbs[] = {
    {"EHLO", SMTP_VERB_EHLO},         {"HELO", SMTP_VERB_HELO},
    {"MAIL", SMTP_VERB_MAIL},         {"RCPT", SMTP_VERB_RCPT},
    {"DATA", SMTP_VERB_DATA},         {"BDAT", SMTP_VERB_BDAT},
    {"RSET", SMTP_VERB_RSET},         {"NOOP", SMTP_VERB_NOOP},
    {"QUIT", SMTP_VERB_QUIT},         {"VRFY", SMTP_VERB_VRFY},
    {"EXPN", SMTP_VERB_EXPN},         {"HELP", SMTP_VERB_HELP},
    {"ETRN", SMTP_VERB_ETRN},         {"STARTTLS", SMTP_VERB_STARTTLS},
    {"AUTH", SMTP_VERB_AUTH},         {"XCLIENT", SMTP_VERB_IDENTITY},
    {"XFORWARD", SMTP_VERB_IDENTITY}, {"XCONNECT", SMTP_VERB_IDENTITY},
    {"PROXY", SMTP_VERB_IDENTITY},    {"GET", SMTP_VERB_FOREIGN},
    {"POST", SMTP_VERB_FOREIGN},      {"HEAD", SMTP_VERB_FOREIGN},
    {"PUT", SMTP_VERB_FOREIGN},       {"DELETE", SMTP_VERB_FOREIGN},
    {"OPTIONS", SMTP_VERB_FOREIGN},   {"CONNECT", SMTP_VERB_FOREIGN},
    {"TRACE", SMTP_VERB_FOREIGN},     {"PATCH", SMTP_VERB_FOREIGN},
    {"PRI", SMTP_VERB_FOREIGN},
};

#define VERB_ROWS (sizeof verbs / sizeof *verbs)

static enum smtp_verb find_verb(const char *word, size_t length)
{
    for (size_t i = 0; i < VERB_ROWS; i++)
        if (strlen(verbs[i].name) == length && strncasecmp(verbs[i].name, word, length) == 0)
            return verbs[i].verb;
    return SMTP_VERB_UNKNOWN;
}

const char *smtp_verb_name(enum smtp_verb verb)
{
    if (verb == SMTP_VERB_IDENTITY || verb == SMTP_VERB_FOREIGN)
        return "unknown";
    for (size_t i = 0; i < VERB_ROWS; i++)
        if (verbs[i].verb == verb)
            return verbs[i].name;
    return "unknown";
}

static bool has_bad_byte(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)line[i];
        if ((byte < 32 && byte != '\t') || byte == 127)
            return true;
    }
    return false;
}

enum smtp_command_status smtp_command_parse(const char *line, size_t length,
                                            struct smtp_command *out)
{
    const char *space = memchr(line, ' ', length);
    size_t word = space ? (size_t)(space - line) : length;
    size_t start = word, end = length;

    while (start < length && line[start] == ' ')
        start++;
    while (end > start && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    out->verb = find_verb(line, word);
    out->verb_length = word;
    out->arguments = line + start;
    out->arguments_length = end - start;
    return has_bad_byte(line, length) ? SMTP_COMMAND_BAD_BYTE : SMTP_COMMAND_OK;
}

size_t smtp_command_canonical(const struct smtp_command *command, const char *line, char *out)
{
    size_t length = command->verb_length;
    memmove(out, line, length);
    if (command->arguments_length == 0)
        return length;
    out[length++] = ' ';
    memmove(out + length, command->arguments, command->arguments_length);
    return length + command->arguments_length;
}

static bool may_stand_in_name(char byte)
{
    return byte > ' ' && byte <= '~';
}

bool smtp_helo_name_valid(const char *name, size_t length)
{
    if (length == 0 || length > SMTP_DOMAIN_LIMIT)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!may_stand_in_name(name[i]))
            return false;
    return true;
}

bool smtp_helo_name_make_safe(const char *name, size_t length,
                              char out[static SMTP_HELO_NAME_SIZE])
{
    if (length == 0 || length > SMTP_DOMAIN_LIMIT)
        return false;
    for (size_t i = 0; i < length; i++)
        out[i] = may_stand_in_name(name[i]) ? name[i] : '?';
    out[length] = '\0';
    return true;
}

bool smtp_helo_name_take(const char *name, size_t length, bool is_strict,
                         char out[static SMTP_HELO_NAME_SIZE])
{
    return smtp_helo_name_make_safe(name, length, out) &&
           (!is_strict || smtp_helo_name_valid(name, length));
}

/* The decimal number that `text` begins with, and its digits; 0 digits: there is no such
 * number. */
static size_t read_size(const char *text, size_t length, uint64_t *size)
{
    size_t digits = 0;
    *size = 0;
    while (digits < length && text[digits] >= '0' && text[digits] <= '9') {
        *size = *size * 10 + (unsigned)(text[digits++] - '0');
        if (*size > SMTP_BDAT_SIZE_LIMIT)
            return 0;
    }
    return digits > 1 && text[0] == '0' ? 0 : digits;
}

bool smtp_bdat_parse(const char *arguments, size_t length, uint64_t *size, bool *last)
{
    static const char word[] = "LAST";
    size_t digits = read_size(arguments, length, size), at = digits;
    if (digits == 0)
        return false;
    while (at < length && arguments[at] == ' ')
        at++;
    *last = digits < length;
    return !*last || (at > digits && length - at == sizeof word - 1 &&
                      strncasecmp(arguments + at, word, sizeof word - 1) == 0);
}
