/* The walk over record headers, from one to the next. Pure: it keeps and changes nothing. */
#include "tls/record_ends.h"

#define HEADER_SIZE      5
#define MAJOR_VERSION    3 /* SSL 3 and all of TLS */
#define CIPHERTEXT_LIMIT (16384 + 256)

/* change_cipher_spec to application_data; of a size that is allowed. */
static bool is_allowed(const uint8_t header[static HEADER_SIZE], size_t content)
{
    return header[0] >= 20 && header[0] <= 23 && header[1] == MAJOR_VERSION &&
           content <= CIPHERTEXT_LIMIT;
}

bool tls_record_ends(const uint8_t *bytes, size_t length, size_t *end)
{
    *end = 0;
    while (length - *end >= HEADER_SIZE) {
        const uint8_t *header = bytes + *end;
        size_t content = (size_t)header[3] << 8 | header[4];
        if (!is_allowed(header, content))
            return false;
        if (content > length - *end - HEADER_SIZE)
            break;
        *end += HEADER_SIZE + content;
    }
    return true;
}
