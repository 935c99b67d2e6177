/* Reply lines (RFC 5321 section 4.2) as the backend's opening and the relay read them. Pure. */
#include "proxy/smtp/reply.h"

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

void smtp_reply_clean(char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)line[i];
        if ((byte < 32 && byte != '\t') || byte == 127)
            line[i] = '?';
    }
}
