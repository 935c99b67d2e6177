/*
 * Reads a Received field as a strict reader of messages does: unfolds it, takes its comments
 * out and finds its clauses in order. For the unit tests and the fuzzer.
 */
#ifndef POSTERN_TEST_TRACE_READER_H
#define POSTERN_TEST_TRACE_READER_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proxy/smtp/trace.h"

struct trace_read {
    char text[SMTP_TRACE_SIZE]; /* unfolded, without the field's name */
    char bare[SMTP_TRACE_SIZE]; /* the same without comments, one space between words */
    char from[SMTP_TRACE_SIZE], by[SMTP_TRACE_SIZE], with[SMTP_TRACE_SIZE], id[SMTP_TRACE_SIZE];
    char date[SMTP_TRACE_SIZE];
    char comment[4][SMTP_TRACE_SIZE];
    unsigned comments;
};

/* One field, in lines that are no longer than they may be; unfolded to `out`. */
static inline const char *trace_unfold(const char *field, size_t length, char *out)
{
    size_t line = 0, at = 0;
    if (length < 2 || memcmp(field + length - 2, "\r\n", 2) != 0)
        return "no line end behind it";
    for (size_t i = 0; i < length - 2; i++, line++) {
        bool ends = field[i] == '\r' && field[i + 1] == '\n';
        if (line > 998)
            return "a line that is too long";
        if (ends && field[i + 2] != '\t')
            return "a line that begins a field of its own";
        if (ends) {
            i++;
            line = 0;
            continue;
        }
        bool printable =
            (field[i] >= ' ' && field[i] <= '~') || (line == 1 && field[i] == '\t');
        if (!printable)
            return "a byte that is not printable";
        out[at++] = field[i] == '\t' ? ' ' : field[i];
    }
    out[at] = '\0';
    return NULL;
}

static inline const char *trace_take_comments(struct trace_read *read)
{
    bool inside = false;
    size_t bare = 0, comment = 0;
    for (const char *at = read->text; *at; at++) {
        if (strchr("\\\"", *at))
            return "a sign that quotes";
        if (*at == '(') {
            if (inside || read->comments == 4)
                return "a comment in a comment, or too many";
            inside = true;
            comment = 0;
        } else if (*at == ')') {
            if (!inside)
                return "a comment's end without its start";
            read->comment[read->comments++][comment] = '\0';
            inside = false;
        } else if (inside) {
            read->comment[read->comments][comment++] = *at;
        } else if (*at != ' ' || (bare > 0 && read->bare[bare - 1] != ' ')) {
            read->bare[bare++] = *at;
        }
    }
    read->bare[bare] = '\0';
    return inside ? "a comment without an end" : NULL;
}

/* What is wrong with the field; NULL: nothing, and *read is what it says. */
static inline const char *trace_fault(const char *field, size_t length, struct trace_read *read)
{
    memset(read, 0, sizeof *read);
    const char *fault = trace_unfold(field, length, read->text);
    if (fault || (fault = trace_take_comments(read)))
        return fault;
    char *semicolon = strchr(read->bare, ';'), word[SMTP_TRACE_SIZE];
    if (!semicolon || strchr(semicolon + 1, ';'))
        return "not one semicolon";
    strcpy(read->date, semicolon + 2);
    *semicolon = '\0';
    int end = 0, count = sscanf(read->bare, "Received: from %s by %s with %s%n", read->from,
                                read->by, read->with, &end);
    if (count != 3)
        return "clauses that are missing";
    count = sscanf(read->bare + end, " %s %s %n", word, read->id, &end);
    if (count > 0 && (count != 2 || strcmp(word, "id") != 0))
        return "clauses that should not be";
    return strlen(read->date) == 31 ? NULL : "a date that is none";
}

#endif
