/*
 * The scanner of chunks. The input is a message, cut into pieces whose lengths its own bytes
 * say: it passes if and only if the plain model finds nothing in the whole.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/chunk.h"
#include "test/unit/chunk_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* In an allocation of its own size: over-reads are seen. */
static bool scan(struct smtp_chunk *chunk, const uint8_t *data, size_t length)
{
    char *piece = malloc(length);
    require(piece != NULL);
    memcpy(piece, data, length);
    bool passes = smtp_chunk_scan(chunk, piece, length);
    free(piece);
    return passes;
}

/* Small bytes are short pieces, so that seams fall everywhere. */
static size_t piece_length(uint8_t byte, size_t left)
{
    size_t length = byte < 64 ? byte % 8 + 1u : byte;
    return length < left ? length : left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t seed = *data++;
    size--;
    struct smtp_chunk chunk = SMTP_CHUNK_START;
    bool passes = true;
    for (size_t at = 0, length = 0; at < size && passes; at += length) {
        length = piece_length(data[at] ^ seed, size - at);
        passes = scan(&chunk, data + at, length);
    }
    require(passes == !chunk_model_refuses((const char *)data, size));
    require(!passes || smtp_chunk_may_end(&chunk) == (data[size - 1] != '\r'));
    return 0;
}
