/*
 * Places in the files of a configuration: config.c remembers them, and whoever has something to
 * say about a key of a running configuration finds them here. Owns the files' names.
 */
#include "proxy/config_place.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config_origin *config_origin_new(void)
{
    return calloc(1, sizeof(struct config_origin));
}

void config_origin_free(struct config_origin *origin)
{
    if (!origin)
        return;
    for (unsigned i = 0; i < origin->file_count; i++)
        free(origin->files[i]);
    free(origin->files);
    free(origin->marks);
    free(origin);
}

int config_origin_add_file(struct config_origin *origin, const char *path)
{
    char **grown = reallocarray(origin->files, origin->file_count + 1, sizeof *grown);
    if (!grown)
        return -1;
    origin->files = grown;
    char *name = strdup(path);
    if (!name)
        return -1;
    grown[origin->file_count] = name;
    return (int)origin->file_count++;
}

void config_origin_mark(struct config_origin *origin, const struct config_mark *mark)
{
    struct config_mark *grown =
        reallocarray(origin->marks, origin->mark_count + 1, sizeof *grown);
    if (!grown)
        return;
    origin->marks = grown;
    grown[origin->mark_count++] = *mark;
}

/* The index of the element with that title; 0 where the section is there once. */
static size_t element_of(const struct config *config, const struct config_section *section,
                         const char *title)
{
    const size_t *count =
        (const size_t *)(const void *)((const char *)config + section->count_offset);
    const char *elements = config_section_elements(section, config);
    for (size_t i = 0; title && i < *count; i++) {
        const struct config_element *element =
            (const struct config_element *)(const void *)(elements + i * section->element_size);
        if (strcmp(element->name, title) == 0)
            return i;
    }
    return SIZE_MAX;
}

struct config_place config_find_place(const struct config *config, const char *section,
                                      const char *title, const char *key)
{
    const struct config_origin *origin = config->origin;
    const struct config_section *known = config_section_find(section, strlen(section));
    const struct config_row *row = key ? config_row_find(section, key) : NULL;
    size_t element = known && known->element_size > 0 ? element_of(config, known, title) : 0;
    struct config_place found = {0};
    for (size_t i = 0; i < origin->mark_count; i++) {
        const struct config_mark *mark = &origin->marks[i];
        if (mark->section != known || mark->element != element)
            continue;
        if (mark->row == row)
            return mark->place;
        if (!mark->row && found.line == 0)
            found = mark->place;
    }
    return found;
}

/* A section that may go without a title is called by it only where it has another one. */
static const char *shown_title(const char *section, const char *title)
{
    const struct config_section *known = config_section_find(section, strlen(section));
    bool usual = known && known->untitled && title && strcmp(known->untitled, title) == 0;
    return usual ? NULL : title;
}

const char *config_file(const struct config *config, size_t index)
{
    return index < config->origin->file_count ? config->origin->files[index] : NULL;
}

static const char *file_of(const struct config *config, const struct config_place *place)
{
    const struct config_origin *origin = config->origin;
    bool known = place->line > 0 && place->file < origin->file_count;
    return known ? origin->files[place->file] : config->path;
}

const char *config_file_of(const struct config *config, const char *section, const char *title,
                           const char *key)
{
    struct config_place place = config_find_place(config, section, title, key);
    return file_of(config, &place);
}

static const char *write_where(const struct config *config, const struct config_place *place,
                               const char *section, const char *title, const char *key,
                               char out[static CONFIG_WHERE_SIZE])
{
    char number[32] = "", name[256] = "", end[256] = "";
    title = shown_title(section, title);
    if (place->line > 0)
        snprintf(number, sizeof number, ":%u:%u", place->line, place->column);
    if (*section && title)
        snprintf(name, sizeof name, ": %s \"%.100s\"", section, title);
    else if (*section)
        snprintf(name, sizeof name, ": %s", section);
    if (key && *key)
        snprintf(end, sizeof end, ": %.100s", key);
    snprintf(out, CONFIG_WHERE_SIZE, "%.460s%s%s%s", file_of(config, place), number, name, end);
    return out;
}

const char *config_where(const struct config *config, const char *section, const char *title,
                         const char *key, char out[static CONFIG_WHERE_SIZE])
{
    struct config_place place = config_find_place(config, section, title, key);
    return write_where(config, &place, section, title, key, out);
}

PRINTF_LIKE(6, 0)
static void log_fault(const struct config *config, const struct config_place *place,
                      const char *section, const char *title, const char *key,
                      const char *format, va_list arguments)
{
    char why[CONFIG_WHY_SIZE], where[CONFIG_WHERE_SIZE];
    vsnprintf(why, sizeof why, format, arguments);
    config->origin->faults++;
    log_error("%s: %s", write_where(config, place, section, title, key, where), why);
}

void config_fault_at(const struct config *config, const struct config_place *place,
                     const char *section, const char *title, const char *key,
                     const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_fault(config, place, section, title, key, format, arguments);
    va_end(arguments);
}

void config_fault(const struct config *config, const char *section, const char *title,
                  const char *key, const char *format, ...)
{
    struct config_place place = config_find_place(config, section, title, key);
    va_list arguments;
    va_start(arguments, format);
    log_fault(config, &place, section, title, key, format, arguments);
    va_end(arguments);
}

PRINTF_LIKE(6, 0)
static void log_about(const struct config *config, void (*log)(const char *format, ...),
                      const char *section, const char *title, const char *key,
                      const char *format, va_list arguments)
{
    char why[CONFIG_WHY_SIZE], where[CONFIG_WHERE_SIZE];
    vsnprintf(why, sizeof why, format, arguments);
    log("%s: %s", config_where(config, section, title, key, where), why);
}

void config_error(const struct config *config, const char *section, const char *title,
                  const char *key, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_about(config, log_error, section, title, key, format, arguments);
    va_end(arguments);
}

void config_warn(const struct config *config, const char *section, const char *title,
                 const char *key, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_about(config, log_warning, section, title, key, format, arguments);
    va_end(arguments);
}
