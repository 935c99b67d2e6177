/*
 * Reads an EHLO reply as a client does, line by line, and holds it against what Postern may
 * ever say. For the unit tests and the fuzzer.
 */
#ifndef POSTERN_TEST_EHLO_READER_H
#define POSTERN_TEST_EHLO_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "proxy/smtp/ehlo.h"

struct ehlo_line {
    const char *text; /* behind the code, without the line end */
    size_t length;
    bool last;
};

/* Takes the line at *at off the reply, and goes behind it. False: it is none. */
static inline bool ehlo_next_line(const char *reply, size_t length, size_t *at,
                                  struct ehlo_line *line)
{
    const char *start = reply + *at, *end = memchr(start, '\r', length - *at);
    if (!end || end - start < 4 || memcmp(start, "250", 3) != 0)
        return false;
    if (end + 1 == reply + length || end[1] != '\n' || (start[3] != '-' && start[3] != ' '))
        return false;
    *line = (struct ehlo_line){start + 4, (size_t)(end - start) - 4, start[3] == ' '};
    *at = (size_t)(end - reply) + 2;
    return true;
}

static inline bool ehlo_line_is(const struct ehlo_line *line, const char *keyword)
{
    size_t length = strlen(keyword);
    return line->length >= length && memcmp(line->text, keyword, length) == 0 &&
           (line->length == length || line->text[length] == ' ' || line->text[length] == '=');
}

/* Does the reply have a line with this keyword? */
static inline bool ehlo_reply_offers(const char *reply, size_t length, const char *keyword)
{
    struct ehlo_line line;
    size_t at = 0;
    if (!ehlo_next_line(reply, length, &at, &line))
        return false;
    while (at < length && ehlo_next_line(reply, length, &at, &line))
        if (ehlo_line_is(&line, keyword))
            return true;
    return false;
}

static inline bool ehlo_may_be_said(const struct ehlo_line *line)
{
    static const char *const keywords[] = {
        "PIPELINING", "SIZE",     "8BITMIME",      "ENHANCEDSTATUSCODES",
        "DSN",        "SMTPUTF8", "CHUNKING",      "BINARYMIME",
        "DELIVERBY",  "LIMITS",   "MT-PRIORITY",   "FUTURERELEASE",
        "ETRN",       "VRFY",     "NO-SOLICITING", "EXPN",
        "STARTTLS",   "AUTH",     "HELP",
    };
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (ehlo_line_is(line, keywords[i]))
            return true;
    return false;
}

/* What is wrong with the reply; NULL: nothing. */
static inline const char *ehlo_reply_fault(const char *reply, size_t length,
                                           const struct smtp_ehlo_own *own)
{
    struct ehlo_line line = {0};
    size_t at = 0;
    if (length >= SMTP_EHLO_TEXT_SIZE || strlen(reply) != length)
        return "its length";
    for (bool first = true; at < length; first = false) {
        size_t start = at;
        if (!ehlo_next_line(reply, length, &at, &line) || line.last != (at == length))
            return "a line's form, or a last line that is not last";
        if (at - start > 512)
            return "a line longer than clients must take";
        for (size_t i = 0; i < line.length; i++)
            if (line.text[i] < ' ' || line.text[i] > '~')
                return "a byte that is not printable";
        if (!first && !ehlo_may_be_said(&line))
            return "a keyword that is not carried";
    }
    if (ehlo_line_is(&line, "STARTTLS"))
        return "STARTTLS in the last line";
    if (ehlo_reply_offers(reply, length, "STARTTLS") != own->starttls)
        return "STARTTLS that is not its own";
    if (ehlo_reply_offers(reply, length, "AUTH") && !own->mechanisms)
        return "AUTH that is not its own";
    if (ehlo_reply_offers(reply, length, "BINARYMIME") &&
        !ehlo_reply_offers(reply, length, "CHUNKING"))
        return "BINARYMIME without CHUNKING";
    return NULL;
}

#endif
