/*
 * Strict base64 for SASL responses, called by the mechanisms only. It knows
 * one spelling of each byte string: no line ends, no missing padding, no bits
 * left over. What it has decoded of a bad text is overwritten, as the text
 * was most likely a password.
 */
#include "auth/base64.h"

#include <stdint.h>
#include <string.h>

#define INVALID 0xff

/* The value of each character of the alphabet (RFC 4648 table 1). */
static uint8_t sextet(char character)
{
    if (character >= 'A' && character <= 'Z')
        return (uint8_t)(character - 'A');
    if (character >= 'a' && character <= 'z')
        return (uint8_t)(character - 'a' + 26);
    if (character >= '0' && character <= '9')
        return (uint8_t)(character - '0' + 52);
    if (character == '+')
        return 62;
    return character == '/' ? 63 : INVALID;
}

/* Decodes four characters, of which the last `padding` are '='; the bits they hide must be 0.
 */
static bool decode_group(const char text[static 4], size_t padding, char out[static 3])
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t value = i < 4 - padding ? sextet(text[i]) : 0;
        if (value == INVALID)
            return false;
        bits = bits << 6 | value;
    }
    if ((bits & ((1u << 8 * padding) - 1)) != 0)
        return false;
    for (size_t i = 0; i < 3 - padding; i++)
        out[i] = (char)(bits >> (16 - 8 * i) & 0xff);
    return true;
}

bool base64_decode(const char *text, size_t length, char *out, size_t *out_length)
{
    size_t done = 0;

    *out_length = 0;
    if (length % 4 != 0)
        return false;
    for (size_t at = 0; at < length; at += 4) {
        bool last = at + 4 == length;
        size_t padding = 0;
        if (last && text[at + 3] == '=')
            padding = text[at + 2] == '=' ? 2 : 1;
        if (!decode_group(text + at, padding, out + done)) {
            explicit_bzero(out, done);
            return false;
        }
        done += 3 - padding;
    }
    *out_length = done;
    return true;
}
