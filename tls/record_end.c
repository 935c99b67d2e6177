/* The end of a record, by its header. Pure: it keeps and changes nothing. */
#include "tls/record_end.h"

#define HEADER_SIZE      5
#define MAJOR_VERSION    3 /* SSL 3 and all of TLS */
#define CIPHERTEXT_LIMIT (16384 + 256)

/* change_cipher_spec to application_data; of a size that is allowed. */
static bool is_allowed(const uint8_t header[static HEADER_SIZE], size_t content)
{
    return header[0] >= 20 && header[0] <= 23 && header[1] == MAJOR_VERSION &&
           content <= CIPHERTEXT_LIMIT;
}

bool tls_record_end(const uint8_t *bytes, size_t length, size_t *end)
{
    *end = 0;
    if (length < HEADER_SIZE)
        return true;
    size_t content = (size_t)bytes[3] << 8 | bytes[4];
    if (!is_allowed(bytes, content))
        return false;
    if (content <= length - HEADER_SIZE)
        *end = HEADER_SIZE + content;
    return true;
}
