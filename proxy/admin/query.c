/* The parser of queries. Takes nothing that it does not know: a mistyped filter would otherwise
 * show, or end, everybody's session. */
#include "proxy/admin/query.h"

#include <stdio.h>
#include <string.h>

const char *admin_parameter_name(enum admin_parameter parameter)
{
    static const char *const names[ADMIN_PARAMETERS] = {
        [ADMIN_PARAMETER_ID] = "id",           [ADMIN_PARAMETER_USER] = "user",
        [ADMIN_PARAMETER_ADDRESS] = "address", [ADMIN_PARAMETER_LEVEL] = "level",
        [ADMIN_PARAMETER_LIMIT] = "limit",     [ADMIN_PARAMETER_FOR] = "for",
        [ADMIN_PARAMETER_EVENT] = "event",
    };
    return names[parameter];
}

static int find(const char *name, size_t length)
{
    for (int i = 0; i < ADMIN_PARAMETERS; i++) {
        const char *each = admin_parameter_name((enum admin_parameter)i);
        if (strlen(each) == length && memcmp(each, name, length) == 0)
            return i;
    }
    return -1;
}

static int digit(char byte)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *found = byte ? strchr(digits, byte) : NULL;
    return found ? (int)((found - digits) % 16) : -1;
}

/* One byte of a value, from one or three; 0: it is none, or NUL. */
static char decode_byte(const char *text, size_t length, size_t *taken)
{
    *taken = 1;
    if (text[0] == '+')
        return ' ';
    if (text[0] != '%')
        return text[0];
    *taken = 3;
    if (length < 3 || digit(text[1]) < 0 || digit(text[2]) < 0)
        return '\0';
    return (char)(digit(text[1]) * 16 + digit(text[2]));
}

static const char *decode(const char *text, size_t length,
                          char out[static ADMIN_QUERY_VALUE_SIZE])
{
    size_t written = 0, taken;
    for (size_t i = 0; i < length; i += taken) {
        char byte = decode_byte(text + i, length - i, &taken);
        if (byte == '\0')
            return "a value is not well encoded";
        if (written == ADMIN_QUERY_VALUE_SIZE - 1)
            return "a value is too long";
        out[written++] = byte;
    }
    out[written] = '\0';
    return written > 0 ? NULL : "a value is empty";
}

static const char *take(const char *text, size_t length, unsigned allowed,
                        struct admin_query *out)
{
    const char *equals = memchr(text, '=', length);
    if (!equals)
        return "a parameter has no value";
    int parameter = find(text, (size_t)(equals - text));
    if (parameter < 0 || !(allowed & (1u << parameter)))
        return "there is no such parameter here";
    if (out->given[parameter])
        return "a parameter is given twice";
    out->given[parameter] = true;
    return decode(equals + 1, length - (size_t)(equals + 1 - text), out->value[parameter]);
}

const char *admin_query_parse(const char *text, size_t length, unsigned allowed,
                              struct admin_query *out)
{
    const char *why = NULL;
    size_t from = 0;
    memset(out, 0, sizeof *out);
    while (from < length && !why) {
        const char *end = memchr(text + from, '&', length - from);
        size_t piece = end ? (size_t)(end - text) - from : length - from;
        why = end && from + piece + 1 == length ? "a parameter has no value"
                                                : take(text + from, piece, allowed, out);
        from += piece + 1;
    }
    if (why)
        memset(out, 0, sizeof *out);
    return why;
}

const char *admin_query_network(const struct admin_query *query, struct network *out)
{
    static char fault[80];
    const char *why;
    if (!query->given[ADMIN_PARAMETER_ADDRESS])
        return "say of which address or network";
    if (network_parse(query->value[ADMIN_PARAMETER_ADDRESS], out, &why))
        return NULL;
    snprintf(fault, sizeof fault, "the address %s", why);
    return fault;
}
