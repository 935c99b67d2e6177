/*
 * How a lenient server may read RCPT's arguments: each of these readers is wrong in a way of
 * its own, and all of them must send what Postern lets pass to the domain that Postern has
 * found. For the unit tests and the fuzzer.
 */
#ifndef POSTERN_TEST_LENIENT_FORWARD_H
#define POSTERN_TEST_LENIENT_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "proxy/smtp/forward_path.h"

/* Room for the arguments and a NUL. */
#define LENIENT_FORWARD_SIZE 4096

enum lenient_end { LENIENT_FIRST_END, LENIENT_LAST_END, LENIENT_FIRST_BLANK, LENIENT_ENDS };
enum lenient_start { LENIENT_FIRST_START, LENIENT_LAST_START, LENIENT_COLON, LENIENT_STARTS };
enum lenient_view { LENIENT_RAW, LENIENT_UNQUOTED, LENIENT_UNCOMMENTED, LENIENT_VIEWS };

static inline const char *lenient_path_start(const char *text, enum lenient_start start)
{
    const char *found = start == LENIENT_FIRST_START  ? strchr(text, '<')
                        : start == LENIENT_LAST_START ? strrchr(text, '<')
                                                      : strchr(text, ':');
    return found ? found + 1 : text;
}

static inline size_t lenient_path_length(const char *path, enum lenient_end end)
{
    const char *found = end == LENIENT_FIRST_END  ? strchr(path, '>')
                        : end == LENIENT_LAST_END ? strrchr(path, '>')
                                                  : strpbrk(path + strspn(path, " "), " \t");
    return found ? (size_t)(found - path) : strlen(path);
}

/* The path as the reader sees it, in which nothing has a meaning that it does not know. */
static inline void lenient_see(const char *path, size_t length, enum lenient_view view,
                               char *out)
{
    size_t at = 0, depth = 0;
    for (size_t i = 0; i < length; i++) {
        bool comment = view == LENIENT_UNCOMMENTED && (path[i] == '(' || path[i] == ')');
        depth += comment && path[i] == '(' ? 1 : 0;
        bool hidden = comment || depth > 0 || strchr("<> ", path[i]) ||
                      (view == LENIENT_UNQUOTED && strchr("\"\\", path[i]));
        depth -= comment && path[i] == ')' && depth > 0 ? 1 : 0;
        if (!hidden)
            out[at++] = path[i];
    }
    out[at] = '\0';
}

/* Is the address sent to that domain, whether its first or its last '@' counts, and to no other
 * by a route in it? */
static inline bool lenient_agrees(const char *address, const struct smtp_forward_path *path)
{
    const char *first = strchr(address, '@'), *last = strrchr(address, '@');
    if (strpbrk(address, "%!:[],;") || address[0] == '@' || address[0] == '|')
        return false;
    if (!path->domain)
        return strcasecmp(address, "postmaster") == 0;
    return first && first == last && strlen(last + 1) == path->domain_length &&
           strncasecmp(last + 1, path->domain, path->domain_length) == 0;
}

/* Do all readers find the same? `arguments` has a NUL behind it and is below
 * LENIENT_FORWARD_SIZE. Parameters are left to those who split at the first blank or bracket.
 */
static inline bool lenient_readers_agree(const char *arguments,
                                         const struct smtp_forward_path *path)
{
    char address[LENIENT_FORWARD_SIZE];
    for (int start = 0; start < LENIENT_STARTS; start++)
        for (int end = 0; end < LENIENT_ENDS; end++)
            for (int view = 0; view < LENIENT_VIEWS; view++) {
                const char *from = lenient_path_start(arguments, (enum lenient_start)start);
                size_t length = lenient_path_length(from, (enum lenient_end)end);
                lenient_see(from, length, (enum lenient_view)view, address);
                if (!lenient_agrees(address, path))
                    return false;
            }
    return true;
}

#endif
