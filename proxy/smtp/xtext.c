/* xtext (RFC 3461 section 4) for XCLIENT's values and AUTH=. Pure. */
#include "proxy/smtp/xtext.h"

#include <string.h>

/* Quotes and brackets might, but servers look for their counterparts before they decode. */
static bool stands_for_itself(unsigned char byte)
{
    return byte > 32 && byte < 127 && !strchr("+=\"()<>\\", byte);
}

bool smtp_xtext_encode(const char *bytes, size_t length, char *out, size_t size,
                       size_t *out_length)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t at = 0;

    *out_length = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        size_t need = stands_for_itself(byte) ? 1 : 3;
        if (size - at < need)
            return false;
        if (need == 1) {
            out[at++] = (char)byte;
            continue;
        }
        out[at++] = '+';
        out[at++] = hex[byte >> 4];
        out[at++] = hex[byte & 15];
    }
    *out_length = at;
    return true;
}
