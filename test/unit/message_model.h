/*
 * What the message scanner must make of a message, said once more in the plainest way: one byte
 * at a time over the whole message, no pieces, no runs. For its unit tests and its fuzzer.
 */
#ifndef POSTERN_TEST_MESSAGE_MODEL_H
#define POSTERN_TEST_MESSAGE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "proxy/smtp/data.h"

/* No byte of a message becomes more than this many. */
#define MESSAGE_GROWTH 3

struct message_result {
    char *out; /* the caller's, MESSAGE_GROWTH times the message's length */
    size_t length;
    size_t consumed; /* up to and with the end; without an end all, but for a last CR */
    bool ended;
};

static inline void message_put(struct message_result *result, const char *text)
{
    size_t length = strlen(text);
    memcpy(result->out + result->length, text, length);
    result->length += length;
}

static inline void message_model(const char *in, size_t length, struct message_result *result)
{
    bool behind_bare_lf = false, only_dot = false;
    size_t column = 0, i;
    for (i = 0; i < length && !result->ended; i++) {
        bool lf = in[i] == '\n', crlf = in[i] == '\r' && i + 1 < length && in[i + 1] == '\n';
        if (in[i] == '\r' && i + 1 == length)
            break; /* nobody knows yet what it is */
        if (lf || crlf) {
            message_put(result, lf && only_dot ? ".\r\n" : "\r\n");
            result->ended = crlf && only_dot;
            i += crlf;
            behind_bare_lf = lf;
            only_dot = false;
            column = 0;
            continue;
        }
        const char text[2] = {in[i] == '\r' || in[i] == '\0' ? ' ' : in[i]};
        if (text[0] == '.' && column == 0 && behind_bare_lf)
            message_put(result, ".");
        only_dot = text[0] == '.' && column == 0 && !behind_bare_lf;
        message_put(result, text);
        column++;
    }
    result->consumed = i;
}

/* Sends `length` more bytes through the scanner. False: a step broke its own rules. */
static inline bool message_scan(struct smtp_data *data, const char *in, size_t length,
                                struct message_result *result)
{
    size_t taken = 0;
    while (taken < length && !result->ended) {
        struct smtp_data_step step;
        smtp_data_step(data, in + taken, length - taken, &step);
        if (step.run > step.consumed || step.consumed > length - taken ||
            (step.consumed == 0 && step.insert_length == 0))
            return false;
        memcpy(result->out + result->length, in + taken, step.run);
        result->length += step.run;
        if (step.insert_length > 0)
            memcpy(result->out + result->length, step.insert, step.insert_length);
        result->length += step.insert_length;
        result->ended = step.status == SMTP_DATA_FOUND;
        taken += step.consumed;
    }
    result->consumed += taken;
    return true;
}

/* The first thing in what a backend is sent that one of them might take for an end; NULL: none.
 */
static inline const char *message_danger(const struct message_result *result)
{
    static const char before[] = "\r\n", end[] = "\r\n.\r\n";
    size_t last = result->length;
    for (size_t i = 0; i < last; i++) {
        char byte = result->out[i], previous = i > 0 ? result->out[i - 1] : '\n';
        if (byte == '\0')
            return "NUL";
        if (byte == '\n' && previous != '\r')
            return "bare LF";
        if (previous == '\r' && byte != '\n')
            return "bare CR";
    }
    if (last > 0 && result->out[last - 1] == '\r')
        return "CR at the end of a piece";
    for (size_t i = 0; i + 3 <= last; i++) {
        bool at_line = i == 0 || (i >= 2 && memcmp(result->out + i - 2, before, 2) == 0);
        bool its_own = result->ended && i + 3 == last;
        if (at_line && memcmp(result->out + i, end + 2, 3) == 0 && !its_own)
            return "an end that is not the message's";
    }
    return NULL;
}

#endif
