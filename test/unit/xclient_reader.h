/*
 * Reads XCLIENT commands as a strict backend does: the verb, then " NAME=xtext" for each
 * attribute. For the unit tests and the fuzzer.
 */
#ifndef POSTERN_TEST_XCLIENT_READER_H
#define POSTERN_TEST_XCLIENT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "proxy/smtp/xclient.h"

#define XCLIENT_READER_SIZE 256

/* What a backend has been told so far. */
struct xclient_told {
    unsigned times[SMTP_XCLIENT_COUNT];
    unsigned command[SMTP_XCLIENT_COUNT];                /* the one that told it */
    char value[SMTP_XCLIENT_COUNT][XCLIENT_READER_SIZE]; /* decoded */
    bool unavailable[SMTP_XCLIENT_COUNT];
    int last; /* the attribute told last of all; -1: none */
};

static inline int xclient_hex(char digit)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *found = digit ? strchr(digits, digit) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Decodes xtext; false: it is none, or too long. */
static inline bool xclient_decode(const char *text, size_t length,
                                  char out[static XCLIENT_READER_SIZE])
{
    size_t at = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < 33 || text[i] > 126 || text[i] == '=' || at + 1 >= XCLIENT_READER_SIZE)
            return false;
        if (text[i] != '+') {
            out[at++] = text[i];
            continue;
        }
        if (length - i < 3 || xclient_hex(text[i + 1]) < 0 || xclient_hex(text[i + 2]) < 0)
            return false;
        out[at++] = (char)(xclient_hex(text[i + 1]) << 4 | xclient_hex(text[i + 2]));
        i += 2;
    }
    out[at] = '\0';
    return true;
}

/* One "NAME=xtext"; NULL: it is well-formed. */
static inline const char *xclient_read_attribute(struct xclient_told *told, const char *text,
                                                 size_t length, unsigned command)
{
    const char *sign = memchr(text, '=', length);
    if (!sign)
        return "an attribute without a value";
    size_t name = (size_t)(sign - text), value = length - name - 1;
    int attribute = smtp_xclient_lookup(text, name);
    if (attribute < 0 || value == 0 || value > SMTP_XCLIENT_VALUE_LIMIT)
        return "an attribute's name, or its value's length";
    if (!xclient_decode(sign + 1, value, told->value[attribute]))
        return "a value that is not xtext";
    told->unavailable[attribute] = value == 13 && memcmp(sign + 1, "[UNAVAILABLE]", 13) == 0;
    told->times[attribute]++;
    told->command[attribute] = command;
    told->last = attribute;
    return NULL;
}

static inline const char *xclient_read_command(struct xclient_told *told, const char *text,
                                               size_t length, unsigned command)
{
    if (length > 512 || length < 10 || memcmp(text, "XCLIENT ", 8) != 0 ||
        memcmp(text + length - 2, "\r\n", 2) != 0)
        return "a command's form or length";
    size_t at = 8, end = length - 2;
    while (at < end) {
        const char *space = memchr(text + at, ' ', end - at);
        size_t word = (space ? (size_t)(space - text) : end) - at;
        const char *fault = xclient_read_attribute(told, text + at, word, command);
        if (fault)
            return fault;
        at += word + 1;
    }
    return at == end ? "a blank at the end" : NULL;
}

/* LOGIN, NAME and ADDR in the last command, ADDR last of all. */
static inline const char *xclient_order_fault(const struct xclient_told *told, uint32_t offered,
                                              unsigned count)
{
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++) {
        if (told->times[i] != ((offered >> i) & 1u))
            return "an attribute twice, not at all, or not offered";
        if (i >= SMTP_XCLIENT_LOGIN && told->times[i] && told->command[i] + 1 != count)
            return "LOGIN, NAME or ADDR before the last command";
    }
    if (told->times[SMTP_XCLIENT_ADDR] && told->last != SMTP_XCLIENT_ADDR)
        return "an attribute behind ADDR";
    return NULL;
}

/* What is wrong with the commands; NULL: nothing, and *told is what a backend knows now. */
static inline const char *xclient_fault(const struct smtp_xclient_commands *commands,
                                        uint32_t offered, struct xclient_told *told)
{
    memset(told, 0, sizeof *told);
    told->last = -1;
    if (commands->count > SMTP_XCLIENT_COMMANDS)
        return "their count";
    for (unsigned i = 0; i < commands->count; i++) {
        const char *fault =
            xclient_read_command(told, commands->text[i], commands->length[i], i);
        if (fault)
            return fault;
    }
    return xclient_order_fault(told, offered, commands->count);
}

#endif
