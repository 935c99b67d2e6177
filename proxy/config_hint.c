/*
 * "did you mean": the nearest name of the table, or the place where a name would be right.
 * Called by config.c for names that it does not find. Pure: reads only the tables.
 */
#include "proxy/config_hint.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LIMIT 40

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static char fold(char byte)
{
    return byte == '-' ? '_' : (char)tolower((unsigned char)byte);
}

/* Letters to be changed, added, left out or swapped with their neighbour. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_LIMIT + 1], *before = rows[0], *last = rows[1], *row = rows[2];
    size_t length = strlen(b);
    if (strlen(a) > NAME_LIMIT || length > NAME_LIMIT)
        return NAME_LIMIT;
    for (unsigned j = 0; j <= length; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= length; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            row[j] = least(last[j - 1] + !same, least(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[length];
}

struct nearest {
    const char *typed, *name;
    unsigned distance;
};

/* A third of its letters may be wrong, and what is cut off counts as one. */
static struct nearest nearest_begin(const char *typed)
{
    unsigned length = (unsigned)strnlen(typed, NAME_LIMIT);
    return (struct nearest){typed, NULL, length < 3 ? 1 : length / 3 + 1};
}

static void nearest_try(struct nearest *nearest, const char *name)
{
    size_t length = strlen(nearest->typed), other = strlen(name);
    size_t longer = length > other ? length - other : other - length;
    unsigned apart =
        longer < nearest->distance ? distance(nearest->typed, name) : nearest->distance;
    if (length >= 3 && strncmp(nearest->typed, name, length) == 0)
        apart = least(apart, 1);
    if (apart < nearest->distance) {
        nearest->distance = apart;
        nearest->name = name;
    }
}

/* Lists the sections that have the key, as "tls or certificate". How many there are. */
static unsigned list_homes(const char *key, char *out, size_t size)
{
    unsigned count = 0;
    size_t length = 0;
    for (size_t i = 0; i < CONFIG_SECTIONS; i++)
        if (config_row_find(config_sections[i].name, key) && length < size) {
            length += (size_t)snprintf(out + length, size - length, "%s%s",
                                       count > 0 ? " or " : "", config_sections[i].name);
            count++;
        }
    return count;
}

static const char *head_of(const struct config_section *section)
{
    return section->element_size > 0 && !section->untitled ? " \"name\"" : "";
}

/* A name that is right elsewhere. False: it is right nowhere. */
static bool hint_place(const char *section, const char *key, char *why)
{
    char homes[CONFIG_WHY_SIZE / 2];
    const struct config_section *known = config_section_find(key, strlen(key));
    if (strcmp(key, "include") == 0)
        snprintf(why, CONFIG_WHY_SIZE,
                 "is written without \"=\", as in: include \"conf.d/*.conf\"");
    else if (*section && config_row_find("", key))
        snprintf(why, CONFIG_WHY_SIZE,
                 "belongs outside of sections: is a brace \"}\" missing above?");
    else if (list_homes(key, homes, sizeof homes) > 0)
        snprintf(why, CONFIG_WHY_SIZE, "belongs in section %s", homes);
    else if (known)
        snprintf(why, CONFIG_WHY_SIZE, "is a section, written as: %s%s { ... }", key,
                 head_of(known));
    else
        return false;
    return true;
}

const char *config_hint_key(const char *section, const char *key,
                            char why[static CONFIG_WHY_SIZE])
{
    struct nearest nearest = nearest_begin(key);
    if (hint_place(section, key, why))
        return why;
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section))
            nearest_try(&nearest, config_rows[i].option.key);
    snprintf(why, CONFIG_WHY_SIZE, "there is no such key%s%s%s",
             nearest.name ? ": did you mean \"" : "", nearest.name ? nearest.name : "",
             nearest.name ? "\"?" : "");
    return why;
}

const char *config_hint_section(const char *name, char why[static CONFIG_WHY_SIZE])
{
    char homes[CONFIG_WHY_SIZE / 2];
    struct nearest nearest = nearest_begin(name);
    for (size_t i = 0; i < CONFIG_SECTIONS; i++)
        nearest_try(&nearest, config_sections[i].name);
    if (config_row_find("", name) || list_homes(name, homes, sizeof homes) > 0)
        snprintf(why, CONFIG_WHY_SIZE, "is a key, and no section: \"=\" comes after it");
    else
        snprintf(why, CONFIG_WHY_SIZE, "there is no such section%s%s%s",
                 nearest.name ? ": did you mean \"" : "", nearest.name ? nearest.name : "",
                 nearest.name ? "\"?" : "");
    return why;
}
