/*
 * The table of parameters, for the relay: a server may offer less to a client than the client
 * was told, and would refuse for good what it does not know.
 */
#include "proxy/smtp/parameters.h"

#include <string.h>
#include <strings.h>

#include "proxy/smtp/command.h"
#include "proxy/smtp/ehlo.h"

static const struct {
    const char *keyword, *value; /* NULL: any, or none */
    enum smtp_extension extension;
    bool is_dispensable; /* the message is the same without it */
} parameters[] = {
    {"SIZE", NULL, SMTP_EXT_SIZE, true},
    {"BODY", "7BIT", SMTP_EXT_8BITMIME, true},
    {"BODY", "8BITMIME", SMTP_EXT_8BITMIME, false},
    {"BODY", "BINARYMIME", SMTP_EXT_BINARYMIME, false},
    {"RET", NULL, SMTP_EXT_DSN, true},
    {"ENVID", NULL, SMTP_EXT_DSN, true},
    {"NOTIFY", NULL, SMTP_EXT_DSN, true},
    {"ORCPT", NULL, SMTP_EXT_DSN, true},
    {"SMTPUTF8", NULL, SMTP_EXT_SMTPUTF8, false},
    {"BY", NULL, SMTP_EXT_DELIVERBY, false},
    {"HOLDFOR", NULL, SMTP_EXT_FUTURERELEASE, false},
    {"HOLDUNTIL", NULL, SMTP_EXT_FUTURERELEASE, false},
    {"MT-PRIORITY", NULL, SMTP_EXT_MT_PRIORITY, true},
    {"SOLICIT", NULL, SMTP_EXT_NO_SOLICITING, false},
};
#define PARAMETERS (sizeof parameters / sizeof parameters[0])

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* Its row; PARAMETERS: it is in none. */
static size_t find(const char *text, size_t length)
{
    size_t keyword = smtp_keyword_length(text, length), row = 0;
    const char *value = keyword < length ? text + keyword + 1 : text + length;
    size_t value_length = keyword < length ? length - keyword - 1 : 0;
    if (keyword == 0 || (keyword < length && text[keyword] != '='))
        return PARAMETERS;
    while (row < PARAMETERS &&
           !(is_word(text, keyword, parameters[row].keyword) &&
             (!parameters[row].value || is_word(value, value_length, parameters[row].value))))
        row++;
    return row;
}

uint32_t smtp_parameters_leave_out(const char *arguments, size_t length, const char *word,
                                   uint32_t extensions, char *out, size_t *out_length)
{
    uint32_t needed = 0;
    size_t end = smtp_path_end(arguments, length, word), kept = end;
    if (end == 0)
        end = kept = length;
    memmove(out, arguments, kept);
    for (size_t start = end; start < length; start = end) {
        size_t text = start;
        while (text < length && arguments[text] == ' ')
            text++;
        for (end = text; end < length && arguments[end] != ' ';)
            end++;
        size_t row = find(arguments + text, end - text);
        uint32_t bit = row < PARAMETERS ? 1u << parameters[row].extension & extensions : 0;
        if (bit && parameters[row].is_dispensable)
            continue;
        needed |= bit;
        memmove(out + kept, arguments + start, end - start);
        kept += end - start;
    }
    *out_length = kept;
    return needed;
}
