/* The scanner of chunks. The relay calls it for each chunk; runs of ordinary bytes are found by
 * data_skip.c, which stops where DATA would end: that is no end for BDAT. */
#include "proxy/smtp/chunk.h"

/* How many bytes of what stopped the run are a line end; 0: they are refused. */
static size_t line_end(struct smtp_chunk *chunk, const char *in, size_t left)
{
    if (in[0] != '\r')
        return 0;
    if (left == 1) {
        chunk->position = SMTP_DATA_CR;
        return 1;
    }
    chunk->position = SMTP_DATA_LINE_START;
    return in[1] == '\n' ? 2 : 0;
}

bool smtp_chunk_scan(struct smtp_chunk *chunk, const char *in, size_t length)
{
    size_t done = 0;
    if (length > 0 && chunk->position == SMTP_DATA_CR) {
        if (in[0] != '\n')
            return false;
        chunk->position = SMTP_DATA_LINE_START;
        done = 1;
    }
    while (done < length) {
        done += smtp_data_skip_best(in + done, length - done, &chunk->position);
        if (done == length)
            break;
        size_t taken = line_end(chunk, in + done, length - done);
        if (taken == 0)
            return false;
        done += taken;
    }
    return true;
}

bool smtp_chunk_may_end(const struct smtp_chunk *chunk)
{
    return chunk->position != SMTP_DATA_CR;
}
