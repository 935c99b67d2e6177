/*
 * The reader: one function skips a value and is the grammar; the others call it on what it has
 * found good before. Used by posternctl, on what a reactor has said, which is taken for
 * hostile.
 */
#include "proxy/ctl/json.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_LIMIT 8

/* What is left of the text. */
struct cursor {
    const char *at, *end;
};

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && memchr(" \t\r\n", *cursor->at, 4))
        cursor->at++;
}

static bool take(struct cursor *cursor, char byte)
{
    skip_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != byte)
        return false;
    cursor->at++;
    return true;
}

static bool take_word(struct cursor *cursor, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

static bool take_digits(struct cursor *cursor)
{
    const char *from = cursor->at;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9')
        cursor->at++;
    return cursor->at > from;
}

/* Behind "." and "e" there must be digits. */
static bool take_number(struct cursor *cursor)
{
    (void)take_word(cursor, "-");
    if (!take_word(cursor, "0") && !take_digits(cursor))
        return false;
    if (take_word(cursor, ".") && !take_digits(cursor))
        return false;
    if (!take_word(cursor, "e") && !take_word(cursor, "E"))
        return true;
    if (!take_word(cursor, "+"))
        (void)take_word(cursor, "-");
    return take_digits(cursor);
}

static int hex_digit(char byte)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *found = byte ? strchr(digits, byte) : NULL;
    return found ? (int)((found - digits) % 16) : -1;
}

/* The escape behind a backslash. */
static bool take_escape(struct cursor *cursor)
{
    if (cursor->at == cursor->end)
        return false;
    char letter = *cursor->at++;
    if (letter != 'u')
        return letter && strchr("\"\\/bfnrt", letter);
    for (int i = 0; i < 4; i++)
        if (cursor->at == cursor->end || hex_digit(*cursor->at++) < 0)
            return false;
    return true;
}

static bool take_string(struct cursor *cursor)
{
    if (!take(cursor, '"'))
        return false;
    while (cursor->at < cursor->end) {
        unsigned char byte = (unsigned char)*cursor->at++;
        if (byte == '"')
            return true;
        if (byte < ' ' || (byte == '\\' && !take_escape(cursor)))
            return false;
    }
    return false;
}

static bool take_value(struct cursor *cursor, unsigned depth);

/* The rest of a list or an object, behind its bracket. */
static bool take_elements(struct cursor *cursor, char bracket, unsigned depth)
{
    if (take(cursor, bracket))
        return true;
    do {
        if (bracket == '}' && (!take_string(cursor) || !take(cursor, ':')))
            return false;
        if (!take_value(cursor, depth + 1))
            return false;
    } while (take(cursor, ','));
    return take(cursor, bracket);
}

static bool take_value(struct cursor *cursor, unsigned depth)
{
    skip_blanks(cursor);
    if (depth > DEPTH_LIMIT || cursor->at == cursor->end)
        return false;
    switch (*cursor->at) {
    case '{':
        cursor->at++;
        return take_elements(cursor, '}', depth);
    case '[':
        cursor->at++;
        return take_elements(cursor, ']', depth);
    case '"':
        return take_string(cursor);
    case 't':
        return take_word(cursor, "true");
    case 'f':
        return take_word(cursor, "false");
    case 'n':
        return take_word(cursor, "null");
    default:
        return take_number(cursor);
    }
}

struct ctl_value ctl_json_parse(const char *text, size_t length)
{
    struct cursor cursor = {text, text + length};
    skip_blanks(&cursor);
    const char *from = cursor.at;
    if (!take_value(&cursor, 0))
        return (struct ctl_value){0};
    struct ctl_value value = {from, (size_t)(cursor.at - from)};
    skip_blanks(&cursor);
    return cursor.at == cursor.end ? value : (struct ctl_value){0};
}

static struct ctl_value next_piece(struct cursor *cursor, bool (*skip)(struct cursor *cursor))
{
    skip_blanks(cursor);
    struct ctl_value piece = {cursor->at, 0};
    piece.length = skip(cursor) ? (size_t)(cursor->at - piece.at) : 0;
    return piece;
}

static bool skip_value(struct cursor *cursor)
{
    return take_value(cursor, 0);
}

struct ctl_value ctl_json_next(struct ctl_value *rest, struct ctl_value *key)
{
    struct cursor cursor = {rest->at, rest->at + rest->length};
    struct ctl_value name = {0}, value = {0};
    /* At the beginning a bracket, later a comma, at the end the other bracket. */
    if (rest->length == 0 || !(take(&cursor, '[') || take(&cursor, '{') || take(&cursor, ',')))
        return value;
    skip_blanks(&cursor);
    bool is_object = rest->at[rest->length - 1] == '}';
    if (is_object) {
        name = next_piece(&cursor, take_string);
        if (name.length == 0 || !take(&cursor, ':'))
            return value;
    }
    value = next_piece(&cursor, skip_value);
    skip_blanks(&cursor);
    *rest = (struct ctl_value){cursor.at, (size_t)(cursor.end - cursor.at)};
    if (key)
        *key = name;
    return value;
}

/* Names in Postern's answers have no escapes. */
static bool is_name(struct ctl_value name, const char *key)
{
    size_t length = strlen(key);
    return name.length == length + 2 && memcmp(name.at + 1, key, length) == 0;
}

struct ctl_value ctl_json_member(struct ctl_value object, const char *key)
{
    struct ctl_value name, value;
    if (object.length == 0 || *object.at != '{')
        return (struct ctl_value){0};
    while ((value = ctl_json_next(&object, &name)).length > 0)
        if (is_name(name, key))
            return value;
    return value;
}

bool ctl_json_is_list(struct ctl_value value)
{
    return value.length > 0 && *value.at == '[';
}

bool ctl_json_is_true(struct ctl_value value)
{
    return value.length == 4 && memcmp(value.at, "true", 4) == 0;
}

int64_t ctl_json_number(struct ctl_value value)
{
    char digits[24];
    if (value.length == 0 || value.length >= sizeof digits ||
        !memchr("-0123456789", *value.at, 11))
        return 0;
    memcpy(digits, value.at, value.length);
    digits[value.length] = '\0';
    return strtoll(digits, NULL, 10);
}

static uint32_t four_digits(const char *at)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++)
        code = code * 16 + (uint32_t)hex_digit(at[i]);
    return code;
}

/* Half of a pair that is alone is nothing that can be shown. */
static uint32_t take_code(struct cursor *cursor)
{
    uint32_t code = four_digits(cursor->at);
    cursor->at += 4;
    bool high = code >= 0xd800 && code < 0xdc00;
    if (high && cursor->end - cursor->at >= 6 && memcmp(cursor->at, "\\u", 2) == 0) {
        uint32_t low = four_digits(cursor->at + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            cursor->at += 6;
            return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return code == 0 || (code >= 0xd800 && code < 0xe000) ? '?' : code;
}

static size_t write_utf8(uint32_t code, char out[static 4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[length] | code);
    return length;
}

/* One character, as it is or behind a backslash. */
static size_t decode(struct cursor *cursor, char out[static 4])
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    char byte = *cursor->at++;
    if (byte != '\\') {
        out[0] = byte;
        return 1;
    }
    char letter = *cursor->at++;
    if (letter == 'u')
        return write_utf8(take_code(cursor), out);
    const char *found = strchr(letters, letter);
    out[0] = found ? meanings[found - letters] : letter;
    return 1;
}

void ctl_json_text(struct ctl_value value, char *out, size_t size)
{
    size_t written = 0;
    if (value.length >= 2 && *value.at == '"') {
        struct cursor cursor = {value.at + 1, value.at + value.length - 1};
        while (cursor.at < cursor.end) {
            char piece[4];
            size_t length = decode(&cursor, piece);
            if (written + length >= size)
                break;
            memcpy(out + written, piece, length);
            written += length;
        }
    }
    out[written] = '\0';
}
