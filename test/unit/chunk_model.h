/*
 * What the scanner of chunks must say of a message, said once more in the plainest way: one
 * byte at a time over the whole message. For its unit tests and its fuzzer.
 */
#ifndef POSTERN_TEST_CHUNK_MODEL_H
#define POSTERN_TEST_CHUNK_MODEL_H

#include <stdbool.h>
#include <stddef.h>

/* Has it a NUL, an LF without its CR, or a CR that something else than LF follows? A CR at the
 * very end is none of these yet. */
static inline bool chunk_model_refuses(const char *in, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool after_cr = i > 0 && in[i - 1] == '\r';
        if (in[i] == '\0' || after_cr != (in[i] == '\n'))
            return true;
    }
    return false;
}

#endif
