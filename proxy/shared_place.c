/*
 * The URL of the option "shared". The configuration checks it with this, and the reactor reads
 * it again when it starts; no message repeats it.
 */
#include "proxy/shared_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME         "redis://"
#define DEFAULT_PORT   ":6379"
#define DATABASE_LIMIT 9999u

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, c | (c > '9' ? 0x20 : 0)) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* A word of the URL, with %41 for A. */
static bool decode(const char *text, size_t length, char out[static SHARED_WORD_SIZE])
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '%') {
            int high = length - i > 2 ? hex_digit(text[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0 || high + low == 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (used == SHARED_WORD_SIZE - 1)
            return false;
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

/* "user:password", ":password", or nothing. */
static bool parse_login(const char *text, size_t length, struct shared_place *out)
{
    const char *colon = memchr(text, ':', length);
    if (length == 0)
        return true;
    if (!colon)
        return false;
    size_t user = (size_t)(colon - text);
    return decode(text, user, out->user) &&
           decode(colon + 1, length - user - 1, out->password) && *out->password;
}

static const char *parse_host(const char *text, size_t length, struct address *out)
{
    char host[ADDRESS_TEXT_SIZE];
    const char *fault = NULL, *bracket;
    if (length == 0 || length + sizeof DEFAULT_PORT > sizeof host)
        return "names no host";
    memcpy(host, text, length);
    host[length] = '\0';
    bracket = strrchr(host, ']');
    if (!strchr(bracket ? bracket : host, ':'))
        strcat(host, DEFAULT_PORT);
    if (strncmp(host, "unix:", 5) == 0 || !address_parse(host, out, &fault))
        return "does not name an IP address, with a port or without, behind redis:// and the "
               "password (names are not looked up)";
    return host[0] == '*' ? "names no host" : NULL;
}

static bool parse_database(const char *text, unsigned *database)
{
    size_t digits = strspn(text, "0123456789");
    if (digits > 4 || text[digits] != '\0')
        return false;
    *database = (unsigned)strtoul(text, NULL, 10);
    return *database <= DATABASE_LIMIT;
}

static const char *parse(const char *text, struct shared_place *out)
{
    if (strncmp(text, "unix:", 5) == 0)
        return "is a unix socket, which cannot be reached from the reactor's empty root: let "
               "Redis listen on an address, as 127.0.0.1";
    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0)
        return "does not begin with redis://";
    const char *begin = text + strlen(SCHEME), *at = strrchr(begin, '@');
    if (at && !parse_login(begin, (size_t)(at - begin), out))
        return "has no \"user:password\" or \":password\" before its @";
    const char *host = at ? at + 1 : begin, *slash = strchrnul(host, '/');
    const char *fault = parse_host(host, (size_t)(slash - host), &out->address);
    if (!fault && *slash && !parse_database(slash + 1, &out->database))
        fault = "does not end with a database's number";
    return fault;
}

bool shared_place_parse(const char *text, struct shared_place *out, const char **why)
{
    *out = (struct shared_place){0};
    const char *fault = parse(text, out);
    if (fault)
        *why = fault;
    return !fault;
}
