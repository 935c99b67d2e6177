/*
 * A configuration file's text, made fit for libconfuse: config.c calls it before it parses.
 * Comments become spaces, since libconfuse counts lines wrongly behind them; what would leave
 * its lexer in the middle of a string (for the next file too), or be passed over in silence, is
 * a fault here; "${" is kept from being replaced by the environment. Knows no keys or values,
 * and of the table only what need not be there: titles, elements of a list.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config_internal.h"

/* Far more than a file with a thousand listeners. */
#define FILE_LIMIT (1024 * 1024)
#define KEY_SIZE   64
/* No text becomes longer than this many times itself. */
#define GROWTH 4

struct scan {
    const char *at, *end;
    char *out;
    unsigned line, faults;
    unsigned depth, open_line; /* braces that are open, and where the outermost stands */
    char word[KEY_SIZE];       /* the last one outside strings */
    size_t word_length;
    bool in_word, in_list;
    char key[KEY_SIZE]; /* the word before the last "=" of this line or list */
    char previous;      /* the last character that is no space */
    config_text_fault *fault;
    void *context;
};

static bool at_line_end(const struct scan *scan)
{
    return scan->at == scan->end || *scan->at == '\n';
}

static void skip_line(struct scan *scan)
{
    while (!at_line_end(scan)) {
        *scan->out++ = ' ';
        scan->at++;
    }
}

/* One fault for each line is enough. */
static void tell(struct scan *scan, const char *why)
{
    scan->faults++;
    scan->fault(scan->context, scan->line, scan->key, why);
    skip_line(scan);
}

static bool is_control(char byte)
{
    return ((unsigned char)byte < ' ' && byte != '\t') || byte == 0x7f;
}

static void skip_block_comment(struct scan *scan)
{
    const char *close = memmem(scan->at + 2, (size_t)(scan->end - scan->at - 2), "*/", 2);
    if (!close) {
        tell(scan, "the comment is not closed");
        scan->at = scan->end;
        return;
    }
    for (; scan->at < close + 2; scan->at++) {
        bool line_end = *scan->at == '\n';
        *scan->out++ = line_end ? '\n' : ' ';
        scan->line += line_end;
    }
}

/* Copies one character of a string, or returns what is wrong with it. */
static const char *copy_character(struct scan *scan, char quote)
{
    char byte = *scan->at++;
    if (is_control(byte))
        return "there is a control character in the string";
    if (byte == '$' && quote == '"')
        *scan->out++ = '\\';
    *scan->out++ = byte;
    if (byte != '\\')
        return NULL;
    if (at_line_end(scan) || (*scan->at != '\\' && *scan->at != quote))
        return "behind a backslash in a string stands a backslash or the quote only";
    *scan->out++ = *scan->at++;
    return NULL;
}

static void copy_string(struct scan *scan)
{
    const char *why = NULL;
    char quote = *scan->at;
    *scan->out++ = *scan->at++;
    while (!why && !at_line_end(scan) && *scan->at != quote)
        why = copy_character(scan, quote);
    if (!why && at_line_end(scan))
        why = "the string is not closed on its line";
    if (why)
        tell(scan, why);
    else
        *scan->out++ = *scan->at++;
}

static bool is_word(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
}

static void extend_word(struct scan *scan, char byte)
{
    if (!scan->in_word)
        scan->word_length = 0;
    scan->in_word = true;
    if (scan->word_length < KEY_SIZE - 1)
        scan->word[scan->word_length++] = byte;
}

/* libconfuse wants a title where the table knows one for a section that has none. */
static void add_title(struct scan *scan)
{
    const struct config_section *section = config_section_find(scan->word, scan->word_length);
    if (scan->depth == 0 && is_word(scan->previous) && section && section->untitled)
        scan->out += sprintf(scan->out, " \"%s\"", section->untitled);
}

/* libconfuse would take the end of the file for the end of its sections. */
static void count_brace(struct scan *scan, char byte)
{
    if (byte == '{' && scan->depth++ == 0)
        scan->open_line = scan->line;
    if (byte == '}' && scan->depth > 0)
        scan->depth--;
}

/* Keeps track of the key that a value belongs to. Returns what is wrong with an empty list. */
static const char *follow(struct scan *scan, char byte)
{
    if (byte == '{')
        add_title(scan);
    count_brace(scan, byte);
    bool list_is_empty = byte == '}' && scan->in_list && scan->previous == '{';
    bool list_begins = byte == '{' && scan->previous == '=';

    if (byte == '=') {
        memcpy(scan->key, scan->word, scan->word_length);
        scan->key[scan->word_length] = '\0';
    }
    if (list_begins || byte == '}')
        scan->in_list = list_begins;
    scan->previous = byte;
    if (!list_is_empty)
        return NULL;
    if (!config_key_may_be_empty(scan->key))
        return "the list is empty";
    scan->out = stpcpy(scan->out, "\"\""); /* or libconfuse would not speak of it */
    return NULL;
}

static void copy_plain(struct scan *scan)
{
    char unexpected[40];
    const char *why = NULL;
    char byte = *scan->at;
    if (is_word(byte))
        extend_word(scan, byte);
    else
        scan->in_word = false;

    if (byte == '\n') {
        scan->line++;
        if (!scan->in_list)
            scan->key[0] = '\0';
    } else if (is_control(byte) && byte != '\r') {
        why = "a control character stands outside quotes";
    } else if ((unsigned char)byte >= 0x80 || strchr("*$|\\+", byte)) {
        snprintf(unexpected, sizeof unexpected, "'%c' stands outside quotes", byte);
        why = unexpected;
    } else if (byte != ' ' && byte != '\t' && byte != '\r') {
        why = follow(scan, byte);
    }
    if (why) {
        tell(scan, why);
        return;
    }
    *scan->out++ = byte;
    scan->at++;
}

static void copy_next(struct scan *scan)
{
    char byte = *scan->at;
    char next = scan->end - scan->at >= 2 ? scan->at[1] : '\0';

    if (byte == '#' || (byte == '/' && next == '/')) {
        skip_line(scan);
    } else if (byte == '/' && next == '*') {
        skip_block_comment(scan);
    } else if (byte == '"' || byte == '\'') {
        (void)follow(scan, byte);
        scan->in_word = false;
        copy_string(scan);
    } else {
        copy_plain(scan);
    }
}

char *config_text_prepare(const char *text, size_t length, config_text_fault *fault,
                          void *context)
{
    /* A backslash before every dollar sign, a title behind some words. */
    char *prepared = malloc(GROWTH * length + 1);
    struct scan scan = {.at = text,
                        .end = text + length,
                        .out = prepared,
                        .line = 1,
                        .fault = fault,
                        .context = context};
    if (!prepared) {
        tell(&scan, "out of memory");
        return NULL;
    }
    while (scan.at < scan.end)
        copy_next(&scan);
    *scan.out = '\0';
    if (scan.depth > 0 && scan.faults == 0) {
        scan.line = scan.open_line;
        scan.key[0] = '\0';
        tell(&scan, "the brace that opens here is not closed");
    }
    if (scan.faults == 0)
        return prepared;
    free(prepared);
    return NULL;
}

/* Reads until the end or FILE_LIMIT; -1: errno. */
static ssize_t read_all(int fd, char *text)
{
    size_t length = 0;
    while (length < FILE_LIMIT) {
        ssize_t got = read(fd, text + length, FILE_LIMIT - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -1 : (ssize_t)length;
        length += (size_t)got;
    }
    return FILE_LIMIT;
}

char *config_text_read(const char *path, size_t *length, const char **why)
{
    *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? NULL : config_text_take(fd, length, why);
}

char *config_text_take(int fd, size_t *length, const char **why)
{
    *why = NULL;
    char *text = malloc(FILE_LIMIT);
    ssize_t got = text ? read_all(fd, text) : -1;
    int error = errno;
    close(fd);
    if (got >= 0 && got < FILE_LIMIT) {
        *length = (size_t)got;
        char *shorter = realloc(text, *length + 1);
        if (shorter)
            text = shorter;
        return text;
    }
    if (got == FILE_LIMIT)
        *why = "the file is too long for a configuration";
    free(text);
    errno = error;
    return NULL;
}
