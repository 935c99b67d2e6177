/*
 * The message scanner. The input is a message, cut into pieces whose lengths its own bytes say:
 * what comes out is what the plain model makes of the whole, nothing in it could end a message
 * for some backend before its end, and all versions of the fast skip agree.
 */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/smtp/data.h"
#include "test/unit/message_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* An allocation of its own size: over-reads are seen. */
static char *copy(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1);
    require(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    return bytes;
}

static void check_skips(const char *in, size_t length)
{
    static const uint8_t starts[] = {SMTP_DATA_LINE_START, SMTP_DATA_TEXT, SMTP_DATA_DOT,
                                     SMTP_DATA_SOFT_START};
    for (size_t i = 0; i < sizeof starts; i++) {
        uint8_t scalar = starts[i], baseline = starts[i], best = starts[i];
        size_t run = smtp_data_skip_scalar(in, length, &scalar);
        require(smtp_data_skip_baseline(in, length, &baseline) == run && baseline == scalar);
        require(smtp_data_skip_best(in, length, &best) == run && best == scalar);
    }
}

/* 0: the rest in one piece; small bytes are short pieces, so that seams fall everywhere. */
static size_t piece_length(uint8_t byte, size_t left)
{
    size_t length = byte == 0 ? left : byte < 64 ? byte % 8 + 1u : byte;
    return length < left ? length : left;
}

/* Are the last bytes a line of a dot alone, of which CR and LF may still be missing? */
static bool ends_in_lone_dot(const char *in, size_t length)
{
    if (length > 0 && in[length - 1] == '\n')
        length--;
    if (length > 0 && in[length - 1] == '\r')
        length--;
    return length > 0 && in[length - 1] == '.' && (length == 1 || in[length - 2] == '\n');
}

static void scan_in_pieces(const uint8_t *data, size_t size, unsigned seed,
                           struct message_result *result)
{
    struct smtp_data state = SMTP_DATA_START;
    for (size_t at = 0; at < size && !result->ended;) {
        size_t length = piece_length((uint8_t)(data[at] ^ seed), size - at);
        char *piece = copy(data + at, length);
        require(message_scan(&state, piece, length, result));
        free(piece);
        at += length;
    }
    require(result->ended ||
            smtp_data_seems_ended(&state) == ends_in_lone_dot((const char *)data, size));
    /* A last CR is held back by the scanner, and not yet looked at by the model. */
    if (state.position == SMTP_DATA_CR || state.position == SMTP_DATA_DOT_CR)
        result->consumed--;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    unsigned seed = data[0];
    char *whole = copy(++data, --size);
    struct message_result expected = {.out = malloc(MESSAGE_GROWTH * size)};
    struct message_result result = {.out = malloc(MESSAGE_GROWTH * size)};
    require(expected.out && result.out);

    message_model(whole, size, &expected);
    scan_in_pieces(data, size, seed, &result);
    require(result.ended == expected.ended && result.consumed == expected.consumed);
    require(result.length == expected.length);
    require(memcmp(result.out, expected.out, result.length) == 0);
    require(message_danger(&result) == NULL);
    check_skips(whole, size);

    free(result.out);
    free(expected.out);
    free(whole);
    return 0;
}
