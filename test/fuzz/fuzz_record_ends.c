/* Bytes of a client that are to be records of TLS: whole records are told from the beginning of
 * one, and nothing is read beyond the end. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "tls/record_ends.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t end, again;
    if (!tls_record_ends(data, size, &end))
        return 0;
    assert(end <= size);
    /* What is left is less than a record, and what was taken is nothing but records. */
    assert(tls_record_ends(data + end, size - end, &again) && again == 0);
    assert(tls_record_ends(data, end, &again) && again == end);
    return 0;
}
