/* Reply lines (RFC 5321 section 4.2) as the backend's opening and the relay read them. Pure. */
#include "proxy/smtp/reply.h"

#include <string.h>

static bool is_digit(char byte, char lowest, char highest)
{
    return byte >= lowest && byte <= highest;
}

bool smtp_reply_line_parse(const char *line, size_t length, struct smtp_reply_line *out)
{
    if (length < 3 || !is_digit(line[0], '2', '5') || !is_digit(line[1], '0', '9') ||
        !is_digit(line[2], '0', '9'))
        return false;
    if (length > 3 && line[3] != ' ' && line[3] != '-')
        return false;

    size_t text = length > 3 ? 4 : 3;
    out->code = (unsigned)((line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0'));
    out->last = length == 3 || line[3] == ' ';
    out->text = line + text;
    out->text_length = length - text;
    return true;
}

enum smtp_reply_status smtp_reply_feed(struct smtp_reply_state *state, const char *line,
                                       size_t length, struct smtp_reply_line *out)
{
    if (!smtp_reply_line_parse(line, length, out))
        return SMTP_REPLY_BROKEN;
    if (state->code != 0 && state->code != out->code)
        return SMTP_REPLY_BROKEN;
    state->code = out->last ? 0 : (uint16_t)out->code;
    return out->last ? SMTP_REPLY_DONE : SMTP_REPLY_MORE;
}

/* With its code, the sign after that, and CRLF. */
#define LINE_LIMIT 512

/* How much of the text has room in a line. */
static size_t fitting_length(const char *text, size_t length)
{
    const size_t room = LINE_LIMIT - 6;
    if (length <= room)
        return length;
    length = room;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    return length;
}

void smtp_reply_text_add(struct smtp_reply_text *text, const struct smtp_reply_line *line)
{
    size_t length = fitting_length(line->text, line->text_length);
    char *out = text->bytes + text->length;
    if (length + 6 > sizeof text->bytes - text->length)
        return;
    if (text->length > 0)
        text->bytes[text->last + 3] = '-';
    text->last = text->length;
    out[0] = (char)('0' + line->code / 100);
    out[1] = (char)('0' + line->code / 10 % 10);
    out[2] = (char)('0' + line->code % 10);
    out[3] = ' ';
    memcpy(out + 4, line->text, length);
    memcpy(out + 4 + length, "\r\n", 2);
    text->length = (uint16_t)(text->length + length + 6);
}

void smtp_reply_clean(char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)line[i];
        if ((byte < 32 && byte != '\t') || byte == 127)
            line[i] = '?';
    }
}
