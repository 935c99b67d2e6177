/*
 * Recipients: a sorted array of lower-case words, in which a domain, a domain with its dot in
 * front, and an address are told apart by what they are made of. Files are read while the
 * configuration is; a look-up reads, allocates and changes nothing once the array is sorted.
 */
#include "proxy/recipients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/command.h"

/* "local-part@domain" and a NUL. */
#define WORD_SIZE (2 * SMTP_DOMAIN_LIMIT + 2)

struct recipients {
    char **words; /* sorted up to `sorted`, which is all of them after sort() */
    size_t count, sorted, capacity;
};

struct recipients *recipients_new(void)
{
    return calloc(1, sizeof(struct recipients));
}

void recipients_free(struct recipients *recipients)
{
    if (!recipients)
        return;
    for (size_t i = 0; i < recipients->count; i++)
        free(recipients->words[i]);
    free(recipients->words);
    free(recipients);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts, and keeps one of each. */
static void sort(struct recipients *recipients)
{
    char **words = recipients->words;
    size_t kept = 0;
    if (recipients->sorted == recipients->count)
        return;
    qsort(words, recipients->count, sizeof *words, compare);
    for (size_t i = 0; i < recipients->count; i++) {
        if (kept > 0 && strcmp(words[kept - 1], words[i]) == 0)
            free(words[i]);
        else
            words[kept++] = words[i];
    }
    recipients->count = recipients->sorted = kept;
}

static void lower(const char *text, size_t length, char *out)
{
    for (size_t i = 0; i < length; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 32 : text[i]);
    out[length] = '\0';
}

/* An address as it is looked up: without the quotes that it may have. */
static void write_address(const struct smtp_forward_path *path, char out[static WORD_SIZE])
{
    lower(path->local_part, path->local_part_length, out);
    out[path->local_part_length] = '@';
    lower(path->domain, path->domain_length, out + path->local_part_length + 1);
}

static bool keep(struct recipients *recipients, const char *word)
{
    if (recipients->count == recipients->capacity) {
        size_t capacity = recipients->capacity ? 2 * recipients->capacity : 16;
        char **words = reallocarray(recipients->words, capacity, sizeof *words);
        if (!words)
            return false;
        recipients->words = words;
        recipients->capacity = capacity;
    }
    char *copy = strdup(word);
    if (!copy)
        return false;
    recipients->words[recipients->count++] = copy;
    return true;
}

/* What an entry is looked up by; NULL: it is one. Otherwise what is wrong with it. */
static const char *read_entry(const char *word, size_t length, char out[static WORD_SIZE])
{
    struct smtp_forward_path path;
    if (memchr(word, '@', length)) {
        enum smtp_forward_path_status status =
            smtp_forward_path_parse_address(word, length, &path);
        if (status != SMTP_FORWARD_PATH_OK)
            return smtp_forward_path_reason(status);
        write_address(&path, out);
        return NULL;
    }
    size_t dot = length > 0 && word[0] == '.' ? 1 : 0;
    if (!smtp_domain_valid(word + dot, length - dot))
        return "neither a domain nor an address";
    lower(word, length, out);
    return NULL;
}

/* The line without comment, and blanks about it. */
static const char *trim(const char *line, size_t *length)
{
    const char *comment = memchr(line, '#', *length);
    while (comment && comment > line && comment[-1] != ' ' && comment[-1] != '\t')
        comment = memchr(comment + 1, '#', *length - (size_t)(comment + 1 - line));
    if (comment)
        *length = (size_t)(comment - line);
    while (*length > 0 && strchr(" \t\r\n", line[*length - 1]) && line[*length - 1])
        --*length;
    while (*length > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        --*length;
    }
    return line;
}

static const char *add_entry(struct recipients *recipients, const char *word, size_t length)
{
    char entry[WORD_SIZE];
    const char *fault = read_entry(word, length, entry);
    if (!fault && !keep(recipients, entry))
        fault = "out of memory";
    return fault;
}

bool recipients_add_lines(struct recipients *recipients, FILE *file, const char *name,
                          char error[static RECIPIENTS_ERROR_SIZE])
{
    char *line = NULL;
    size_t size = 0, number = 0;
    const char *fault = NULL;
    ssize_t got;
    errno = 0;
    while (!fault && (got = getline(&line, &size, file)) >= 0) {
        size_t length = (size_t)got;
        const char *word = trim(line, &length);
        number++;
        if (length > 0)
            fault = add_entry(recipients, word, length);
    }
    if (fault)
        snprintf(error, RECIPIENTS_ERROR_SIZE, "%s:%zu: %s", name, number, fault);
    else if (!feof(file))
        snprintf(error, RECIPIENTS_ERROR_SIZE, "%s: %s", name, strerrordesc_np(errno));
    bool whole = !fault && feof(file);
    free(line);
    return whole;
}

static bool add_file(struct recipients *recipients, const char *path,
                     char error[static RECIPIENTS_ERROR_SIZE])
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(error, RECIPIENTS_ERROR_SIZE, "%s: %s", path, strerrordesc_np(errno));
        return false;
    }
    size_t before = recipients->count;
    bool added = recipients_add_lines(recipients, file, path, error);
    fclose(file);
    if (added && recipients->count == before) {
        snprintf(error, RECIPIENTS_ERROR_SIZE, "%s: it names no recipient", path);
        return false;
    }
    return added;
}

bool recipients_add(struct recipients *recipients, const char *word,
                    char error[static RECIPIENTS_ERROR_SIZE])
{
    if (word[0] == '/')
        return add_file(recipients, word, error);
    const char *fault = add_entry(recipients, word, strlen(word));
    if (fault)
        snprintf(error, RECIPIENTS_ERROR_SIZE, "\"%s\": %s", word, fault);
    return !fault;
}

size_t recipients_count(struct recipients *recipients)
{
    sort(recipients);
    return recipients->count;
}

static bool is_listed(const struct recipients *recipients, const char *word)
{
    return recipients->count > 0 && bsearch(&word, recipients->words, recipients->count,
                                            sizeof *recipients->words, compare) != NULL;
}

bool recipients_include(struct recipients *recipients, const struct smtp_forward_path *path)
{
    char address[WORD_SIZE];
    if (!path->domain)
        return true;
    sort(recipients);
    write_address(path, address);
    const char *domain = address + path->local_part_length + 1;
    if (is_listed(recipients, address) || is_listed(recipients, domain))
        return true;
    for (const char *dot = strchr(domain, '.'); dot; dot = strchr(dot + 1, '.'))
        if (is_listed(recipients, dot))
            return true;
    return false;
}
