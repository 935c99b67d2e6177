/*
 * A backend's replies, line by line as the relay reads them: cleaned, parsed, put together. A
 * line that passes can be written again from what was read, and is safe to show. What is kept
 * of a reply to be repeated is a whole reply of its code, of bounded lines.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_line(const char *line, size_t length, const struct smtp_reply_line *reply)
{
    char code[8];
    snprintf(code, sizeof code, "%03u", reply->code);
    require(reply->code >= 200 && reply->code <= 599 && memcmp(code, line, 3) == 0);
    require(reply->text + reply->text_length == line + length);
    require(reply->text == line + (length > 3 ? 4 : 3));
    require(reply->last == (length == 3 || line[3] == ' '));
}

static void check_clean(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        require(((unsigned char)line[i] >= 32 || line[i] == '\t') && line[i] != 127);
}

/* Each of its lines is one, all have one code, and only the last one ends it. */
static void check_text(const struct smtp_reply_text *text)
{
    struct smtp_reply_state state = {0};
    struct smtp_reply_line line;
    require(text->length <= sizeof text->bytes);
    for (size_t at = 0; at < text->length;) {
        const char *end = memchr(text->bytes + at, '\n', text->length - at);
        require(end != NULL && end > text->bytes + at && end[-1] == '\r');
        size_t length = (size_t)(end - 1 - (text->bytes + at));
        require(length + 2 <= 512);
        check_clean(text->bytes + at, length);
        enum smtp_reply_status status =
            smtp_reply_feed(&state, text->bytes + at, length, &line);
        at += length + 2;
        require(status == (at < text->length ? SMTP_REPLY_MORE : SMTP_REPLY_DONE));
    }
}

static void keep(struct smtp_reply_text *text, const struct smtp_reply_line *line, bool first)
{
    if (first)
        text->length = 0;
    smtp_reply_text_add(text, line);
    require(text->length > 0);
    check_text(text);
}

/* `first` is the code of the reply under way, or 0; so is what is returned. */
static unsigned take_line(struct smtp_reply_state *state, struct smtp_reply_text *text,
                          char *line, size_t length, unsigned first)
{
    struct smtp_reply_line reply, alone;
    smtp_reply_clean(line, length);
    check_clean(line, length);
    bool parsed = smtp_reply_line_parse(line, length, &alone);
    enum smtp_reply_status status = smtp_reply_feed(state, line, length, &reply);
    if (status == SMTP_REPLY_BROKEN) {
        require(!parsed || (first != 0 && alone.code != first));
        *state = (struct smtp_reply_state){0};
        return 0;
    }
    check_line(line, length, &reply);
    require(first == 0 || reply.code == first);
    keep(text, &reply, first == 0);
    require(reply.last == (status == SMTP_REPLY_DONE));
    return reply.last ? 0 : reply.code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_reply_state state = {0};
    struct smtp_reply_text text = {0};
    unsigned code = 0;
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) : size;
        char *line = malloc(length ? length : 1);
        require(line != NULL);
        memcpy(line, data, length);
        code = take_line(&state, &text, line, length, code);
        free(line);
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
    return 0;
}
