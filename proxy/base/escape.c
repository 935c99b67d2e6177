/*
 * Escaping for the log: walks bytes character by character, decodes UTF-8 strictly, and copies,
 * escapes or masks each. Called by log.c only; knows nothing of fields, lines or destinations.
 */
#include "proxy/base/escape.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Characters beyond ASCII that end lines, reorder them, hide in them, or look like a space. */
static const struct {
    uint32_t first, last;
} unsafe_ranges[] = {
    {0x80, 0xa0},       /* C1 control characters, no-break space */
    {0xad, 0xad},       /* soft hyphen */
    {0x34f, 0x34f},     /* combining grapheme joiner */
    {0x61c, 0x61c},     /* Arabic letter mark */
    {0x115f, 0x1160},   /* Hangul fillers */
    {0x1680, 0x1680},   /* Ogham space */
    {0x17b4, 0x17b5},   /* Khmer vowels that are not shown */
    {0x180b, 0x180f},   /* Mongolian variation selectors and vowel separator */
    {0x2000, 0x200f},   /* spaces, zero width, and marks of direction */
    {0x2028, 0x202f},   /* line and paragraph separators, embeddings, overrides, a space */
    {0x205f, 0x206f},   /* a space, word joiner, isolates, deprecated format characters */
    {0x2800, 0x2800},   /* Braille without a dot */
    {0x3000, 0x3000},   /* ideographic space */
    {0x3164, 0x3164},   /* Hangul filler */
    {0xfe00, 0xfe0f},   /* variation selectors */
    {0xfeff, 0xfeff},   /* byte order mark */
    {0xffa0, 0xffa0},   /* Hangul filler of half width */
    {0xfff0, 0xfffb},   /* not assigned and not shown; interlinear annotation */
    {0x1bca0, 0x1bca3}, /* shorthand format controls */
    {0x1d173, 0x1d17a}, /* musical format controls */
    {0xe0000, 0xe0fff}, /* tags, variation selectors */
};

struct character {
    size_t length; /* bytes in the input, at least 1 */
    uint32_t code; /* the code point, or the byte if it is a stray one */
    bool stray;    /* no part of valid UTF-8 */
};

/* A lead byte's share of the code point and the number of bytes that follow; -1: no lead. */
static int lead(unsigned char byte, uint32_t *code)
{
    if (byte >= 0xc2 && byte <= 0xdf) {
        *code = byte & 0x1fu;
        return 1;
    }
    if (byte >= 0xe0 && byte <= 0xef) {
        *code = byte & 0x0fu;
        return 2;
    }
    if (byte >= 0xf0 && byte <= 0xf4) {
        *code = byte & 0x07u;
        return 3;
    }
    return -1;
}

/* RFC 3629: neither overlong nor a surrogate nor above U+10FFFF. */
static bool code_is_valid(uint32_t code, int following)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    return code >= smallest[following] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static struct character next_character(const char *in, size_t length)
{
    struct character byte = {1, (unsigned char)in[0], true};
    uint32_t code = 0;
    if (byte.code < 0x80) {
        byte.stray = false;
        return byte;
    }
    int following = lead((unsigned char)in[0], &code);
    if (following < 0 || (size_t)following >= length)
        return byte;
    for (int i = 1; i <= following; i++) {
        unsigned char tail = (unsigned char)in[i];
        if ((tail & 0xc0u) != 0x80u)
            return byte;
        code = code << 6 | (tail & 0x3fu);
    }
    return code_is_valid(code, following)
               ? (struct character){(size_t)following + 1, code, false}
               : byte;
}

static bool is_safe(const struct character *character)
{
    uint32_t code = character->code;
    if (code < 0x80)
        return code >= ' ' && code != 0x7f;
    if (character->stray)
        return false;
    for (size_t i = 0; i < sizeof unsafe_ranges / sizeof unsafe_ranges[0]; i++)
        if (code >= unsafe_ranges[i].first && code <= unsafe_ranges[i].last)
            return false;
    return true;
}

/* The letter of a two-character escape, or NUL. */
static char short_escape(enum escape_style style, uint32_t code)
{
    switch (code) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\\':
        return '\\';
    case '"':
        return style == ESCAPE_PROSE ? '\0' : '"';
    default:
        return '\0';
    }
}

/* Longest: a surrogate pair in JSON, and its NUL. */
#define ESCAPED_SIZE 16

static size_t write_escape(enum escape_style style, const struct character *character,
                           char out[static ESCAPED_SIZE])
{
    uint32_t code = character->code;
    char letter = short_escape(style, code);
    int length;
    if (style == ESCAPE_MASK)
        length = snprintf(out, ESCAPED_SIZE, "?");
    else if (letter)
        length = snprintf(out, ESCAPED_SIZE, "\\%c", letter);
    else if (style != ESCAPE_JSON && (code < 0x80 || character->stray))
        length = snprintf(out, ESCAPED_SIZE, "\\x%02x", (unsigned)code & 0xffu);
    else if (code < 0x10000)
        length = snprintf(out, ESCAPED_SIZE, "\\u%04x", (unsigned)code & 0xffffu);
    else if (style != ESCAPE_JSON)
        length = snprintf(out, ESCAPED_SIZE, "\\U%08x", (unsigned)code);
    else
        length = snprintf(out, ESCAPED_SIZE, "\\u%04x\\u%04x",
                          (unsigned)(0xd800 + ((code - 0x10000) >> 10)) & 0xffffu,
                          (unsigned)(0xdc00 + (code & 0x3ff)) & 0xffffu);
    return (size_t)length;
}

static bool needs_escape(enum escape_style style, const struct character *character)
{
    if (!is_safe(character))
        return true;
    if (style == ESCAPE_MASK)
        return false;
    return short_escape(style, character->code) != '\0';
}

size_t escape(enum escape_style style, const char *in, size_t length, char *out, size_t size,
              size_t *written)
{
    size_t taken = 0;
    *written = 0;
    while (taken < length) {
        char escaped[ESCAPED_SIZE];
        const char *piece = in + taken;
        struct character character = next_character(piece, length - taken);
        size_t piece_length = character.length;
        if (needs_escape(style, &character)) {
            piece_length = write_escape(style, &character, escaped);
            piece = escaped;
        }
        if (piece_length > size - *written)
            break;
        memcpy(out + *written, piece, piece_length);
        *written += piece_length;
        taken += character.length;
    }
    return taken;
}

bool escape_is_word(const char *in, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (in[i] <= ' ' || in[i] > '~' || in[i] == '"' || in[i] == '=' || in[i] == '\\')
            return false;
    return length > 0;
}
