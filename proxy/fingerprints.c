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

static const char *add(struct fingerprints *fingerprints, const char *line)
{
    struct entry entry = {0};
    const char *name = read_digits(line, entry.digits);
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

/* Without comment and blanks around it. */
static char *trim(char *line)
{
    line[strcspn(line, "#\r\n")] = '\0';
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
    const char *why = NULL;
    unsigned number = 0;
    while (!why && getline(&line, &size, file) >= 0) {
        char *content = trim(line);
        number++;
        if (*content)
            why = add(fingerprints, content);
    }
    free(line);
    if (why)
        snprintf(error, FINGERPRINTS_ERROR_SIZE, "%s:%u: %s", path, number, why);
    return !why;
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
        snprintf(error, FINGERPRINTS_ERROR_SIZE,
                 "%s: %s stands twice, for \"%.100s\" and \"%.100s\"", path, one->digits,
                 one->name, two->name);
        return false;
    }
    return true;
}

struct fingerprints *fingerprints_read(const char *path,
                                       char error[static FINGERPRINTS_ERROR_SIZE])
{
    struct fingerprints *fingerprints = calloc(1, sizeof *fingerprints);
    FILE *file = fingerprints ? fopen(path, "re") : NULL;
    bool good = false;
    if (file)
        good = read_lines(fingerprints, file, path, error) &&
               put_in_order(fingerprints, path, error);
    else
        snprintf(error, FINGERPRINTS_ERROR_SIZE, "%s: %s", path, strerrordesc_np(errno));
    if (file)
        fclose(file);
    if (good)
        return fingerprints;
    fingerprints_free(fingerprints);
    return NULL;
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
    strcpy(wanted.digits, fingerprint);
    const struct entry *found = bsearch(&wanted, fingerprints->entries, fingerprints->count,
                                        sizeof(struct entry), compare);
    return found ? found->name : NULL;
}
