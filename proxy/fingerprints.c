/* The table is sorted once and searched by halves; a fingerprint that stands twice is a fault,
 * as it cannot belong to two. */
#include "proxy/fingerprints.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"

#define DIGITS 64

struct entry {
    char digits[DIGITS + 1];
    unsigned line;
    char *name;
};

struct fingerprints {
    size_t count;
    struct entry *entries;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->digits, ((const struct entry *)b)->digits);
}

/* Reads the digits at the start of a line; returns where they end, NULL: they are not 64. */
static const char *read_digits(const char *line, char out[static DIGITS + 1])
{
    size_t count = 0;
    for (; *line && *line != ' ' && *line != '\t'; line++) {
        const char *digits = "0123456789abcdef";
        const char *digit = strchr(digits, *line >= 'A' && *line <= 'F' ? *line | 32 : *line);
        if (*line == ':')
            continue;
        if (!digit || count == DIGITS)
            return NULL;
        out[count++] = *digit;
    }
    out[count] = '\0';
    return count == DIGITS ? line : NULL;
}

static const char *add(struct fingerprints *fingerprints, const char *text, unsigned line)
{
    struct entry entry = {.line = line};
    const char *name = read_digits(text, entry.digits);
    if (!name)
        return "not a SHA-256 fingerprint in hexadecimal";
    name += strspn(name, " \t");
    if (!sasl_name_valid(name, strlen(name)))
        return "no name, or none that could be a login";
    struct entry *grown =
        reallocarray(fingerprints->entries, fingerprints->count + 1, sizeof *grown);
    if (grown)
        fingerprints->entries = grown;
    entry.name = grown ? strdup(name) : NULL;
    if (!entry.name)
        return "out of memory";
    grown[fingerprints->count++] = entry;
    return NULL;
}

/* Without comment and blanks around it. A '#' inside a word is part of a name. */
static char *trim(char *line)
{
    char *comment = line;
    line[strcspn(line, "\r\n")] = '\0';
    while ((comment = strchr(comment, '#')) && comment > line && comment[-1] != ' ' &&
           comment[-1] != '\t')
        comment++;
    if (comment)
        *comment = '\0';
    line += strspn(line, " \t");
    size_t length = strlen(line);
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\t'))
        line[--length] = '\0';
    return line;
}

static bool read_lines(struct fingerprints *fingerprints, FILE *file, const char *path,
                       char error[static FINGERPRINTS_ERROR_SIZE])
{
    char *line = NULL;
    size_t size = 0;
    ssize_t got;
    const char *why = NULL;
    unsigned number = 0;
    errno = 0;
    while (!why && (got = getline(&line, &size, file)) >= 0) {
        bool is_text = strlen(line) == (size_t)got;
        const char *content = trim(line);
        number++;
        if (!is_text)
            why = "a zero byte";
        else if (*content)
            why = add(fingerprints, content, number);
    }
    bool whole = !why && feof(file);
    if (why)
        snprintf(error, FINGERPRINTS_ERROR_SIZE, "%s:%u: %s", path, number, why);
    else if (!whole)
        snprintf(error, FINGERPRINTS_ERROR_SIZE, "%s: %s", path, strerrordesc_np(errno));
    free(line);
    return whole;
}

static bool put_in_order(struct fingerprints *fingerprints, const char *path,
                         char error[static FINGERPRINTS_ERROR_SIZE])
{
    if (fingerprints->count > 0)
        qsort(fingerprints->entries, fingerprints->count, sizeof(struct entry), compare);
    for (size_t i = 1; i < fingerprints->count; i++) {
        const struct entry *one = &fingerprints->entries[i - 1], *two = one + 1;
        if (compare(one, two) != 0)
            continue;
        bool in_order = one->line < two->line;
        snprintf(error, FINGERPRINTS_ERROR_SIZE,
                 "%s:%u: this fingerprint stands in line %u already", path,
                 in_order ? two->line : one->line, in_order ? one->line : two->line);
        return false;
    }
    return true;
}

struct fingerprints *fingerprints_read_lines(FILE *file, const char *name,
                                             char error[static FINGERPRINTS_ERROR_SIZE])
{
    struct fingerprints *fingerprints = calloc(1, sizeof *fingerprints);
    if (!fingerprints) {
        snprintf(error, FINGERPRINTS_ERROR_SIZE, "%s: out of memory", name);
        return NULL;
    }
    if (read_lines(fingerprints, file, name, error) && put_in_order(fingerprints, name, error))
        return fingerprints;
    fingerprints_free(fingerprints);
    return NULL;
}

struct fingerprints *fingerprints_read(const char *path,
                                       char error[static FINGERPRINTS_ERROR_SIZE])
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(error, FINGERPRINTS_ERROR_SIZE, "%s: %s", path, strerrordesc_np(errno));
        return NULL;
    }
    struct fingerprints *fingerprints = fingerprints_read_lines(file, path, error);
    fclose(file);
    return fingerprints;
}

void fingerprints_free(struct fingerprints *fingerprints)
{
    if (!fingerprints)
        return;
    for (size_t i = 0; i < fingerprints->count; i++)
        free(fingerprints->entries[i].name);
    free(fingerprints->entries);
    free(fingerprints);
}

const char *fingerprints_find(const struct fingerprints *fingerprints, const char *fingerprint)
{
    struct entry wanted = {0};
    if (strlen(fingerprint) != DIGITS || fingerprints->count == 0)
        return NULL;
    memcpy(wanted.digits, fingerprint, DIGITS);
    const struct entry *found = bsearch(&wanted, fingerprints->entries, fingerprints->count,
                                        sizeof(struct entry), compare);
    return found ? found->name : NULL;
}
