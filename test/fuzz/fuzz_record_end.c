/* Bytes of a client that are to be records of TLS: a whole record is told from the beginning of
 * one, and nothing is read beyond the end. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "tls/record_end.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t end, again;
    if (!tls_record_end(data, size, &end))
        return 0;
    assert(end <= size);
    /* What was taken is one record, and less than that is none. */
    if (end > 0) {
        assert(tls_record_end(data, end, &again) && again == end);
        assert(tls_record_end(data, end - 1, &again) && again == 0);
    }
    return 0;
}
