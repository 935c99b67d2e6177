/*
 * From the calls of the parser (config_parser.h) to rows of the table: each value is converted
 * (config_value.c) into its field, and its place remembered (config_place.c). Called by
 * config.c. Goes on after a fault, so that all of them are reported; changes nothing outside of
 * the struct config that it fills.
 */
#include "proxy/config_reading.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proxy/config_hint.h"
#include "proxy/config_include.h"
#include "proxy/config_parser.h"
#include "proxy/config_place.h"

/* After so many, a file is something else than a configuration. */
#define FAULT_LIMIT 100

struct reading {
    struct config *config;
    unsigned file, depth;
    const struct config_section *section; /* the open one; NULL: the top level */
    const char *title;                    /* its own, or NULL; the element owns it */
    void *base; /* the struct of its values; NULL: there was no memory */
    struct config_place head;
    /* Where each key stood; line 0: not yet. For a repeatable section, in this element. */
    struct config_place seen[CONFIG_ROWS_LIMIT];
};

static struct config_place place_of(const struct reading *reading,
                                    const struct config_word *word)
{
    return (struct config_place){reading->file, word->line, word->column};
}

static const char *section_name(const struct reading *reading)
{
    return reading->section ? reading->section->name : "";
}

/* Reports a fault of the open section. */
PRINTF_LIKE(4, 5)
static void fault(const struct reading *reading, const struct config_place *place,
                  const char *key, const char *format, ...)
{
    char why[CONFIG_WHY_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    if (reading->config->origin->faults < FAULT_LIMIT)
        config_fault_at(reading->config, place, section_name(reading), reading->title, key,
                        "%s", why);
    else if (reading->config->origin->faults == FAULT_LIMIT)
        config_fault_at(reading->config, place, "", NULL, NULL,
                        "there are more faults, which are not shown");
}

static void mark(const struct reading *reading, const struct config_row *row,
                 const struct config_place *place)
{
    size_t element = 0;
    if (reading->section && reading->section->element_size > 0)
        element = *config_section_count(reading->section, reading->config) - 1;
    config_origin_mark(reading->config->origin,
                       &(struct config_mark){reading->section, row, element, *place});
}

static void take_list(const struct reading *reading, const struct config_row *row,
                      const struct config_value *value, const struct config_place *place)
{
    char why[CONFIG_WHY_SIZE];
    /* An empty string is how a list without elements can be written, too. */
    bool is_empty = value->count == 1 && !*value->words->text;
    size_t count = is_empty ? 0 : value->count;
    if (count == 0 && !config_row_may_be_empty(row)) {
        fault(reading, place, row->option.key, "the list is empty");
        return;
    }
    config_value_clear(row, reading->base);
    for (size_t i = 0; i < count; i++) {
        struct config_place at = place_of(reading, &value->words[i]);
        if (!config_value_take(row, reading->base, value->words[i].text, why))
            fault(reading, &at, row->option.key, "%s", why);
    }
}

static void take_one(const struct reading *reading, const struct config_row *row,
                     const struct config_word *value)
{
    char why[CONFIG_WHY_SIZE];
    struct config_place place = place_of(reading, value);
    if (!config_value_take(row, reading->base, value->text, why))
        fault(reading, &place, row->option.key, "%s", why);
}

/* Where a key was given before, in words. */
static const char *tell_before(const struct reading *reading, const struct config_place *before,
                               char out[static CONFIG_WHY_SIZE])
{
    if (before->file == reading->file)
        snprintf(out, CONFIG_WHY_SIZE, "in line %u", before->line);
    else
        snprintf(out, CONFIG_WHY_SIZE, "in %.300s, line %u",
                 reading->config->origin->files[before->file], before->line);
    return out;
}

static void on_set(void *context, const struct config_word *key,
                   const struct config_value *value)
{
    char why[CONFIG_WHY_SIZE];
    struct reading *reading = context;
    struct config_place place = place_of(reading, key);
    if (!reading->base || reading->config->origin->faults > FAULT_LIMIT)
        return;
    const struct config_row *row = config_row_find(section_name(reading), key->text);
    if (!row) {
        fault(reading, &place, key->text, "%s",
              config_hint_key(section_name(reading), key->text, why));
        return;
    }
    struct config_place *seen = &reading->seen[row - config_rows];
    if (seen->line > 0) {
        fault(reading, &place, key->text, "is given twice, first %s",
              tell_before(reading, seen, why));
        return;
    }
    *seen = place;
    mark(reading, row, &place);
    if (value->is_bad)
        return;
    if (config_row_is_list(row))
        take_list(reading, row, value, &place);
    else if (value->is_list)
        fault(reading, &place, key->text, "takes one value, and no list");
    else
        take_one(reading, row, value->words);
}

/* The head of a section that may stand more than once. One with a fault is read all the same,
 * so that those in it are reported, too. */
static void begin_element(struct reading *reading, const struct config_word *title)
{
    const struct config_section *section = reading->section;
    char before[CONFIG_WHY_SIZE];
    struct config_place earlier = {0};
    reading->title = title ? title->text : section->untitled;
    if (reading->title)
        earlier = config_find_place(reading->config, section->name, reading->title, NULL);
    if (!reading->title)
        fault(reading, &reading->head, NULL,
              "there is no name in quotes after it: %s \"name\" { ... }", section->name);
    else if (!*reading->title)
        fault(reading, &reading->head, NULL, "the name is empty");
    else if (earlier.line > 0)
        fault(reading, &reading->head, NULL, "an earlier section has the same name, %s",
              tell_before(reading, &earlier, before));
    reading->base = config_add_element(
        reading->config, section, reading->title ? reading->title : "", reading->head.line);
    if (reading->base)
        mark(reading, NULL, &reading->head);
}

static bool on_knows(void *context, const struct config_word *name)
{
    (void)context;
    return config_section_find(name->text, strlen(name->text)) != NULL;
}

static void on_unknown(void *context, const struct config_word *name)
{
    char why[CONFIG_WHY_SIZE];
    const struct reading *reading = context;
    struct config_place place = place_of(reading, name);
    if (reading->config->origin->faults > FAULT_LIMIT)
        return;
    fault(reading, &place, name->text, "%s", config_hint_section(name->text, why));
}

static void on_begin(void *context, const struct config_word *name,
                     const struct config_word *title)
{
    struct reading *reading = context;
    reading->head = place_of(reading, name);
    reading->section = config_section_find(name->text, strlen(name->text));
    if (reading->section->element_size > 0) {
        begin_element(reading, title);
        return;
    }
    mark(reading, NULL, &reading->head);
    if (title)
        fault(reading, &reading->head, NULL, "has no name: %s { ... }", name->text);
}

/* Reports keys without a default that an element does not have. */
static void require_keys(const struct reading *reading)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], reading->section->name) &&
            !config_rows[i].option.fallback && reading->seen[i].line == 0)
            fault(reading, &reading->head, config_rows[i].option.key, "must be given");
}

static void check_listen_is_alone(const struct reading *reading,
                                  const struct config_listen *listen)
{
    const struct config_row *row = config_row_find("listen", "address");
    const struct config_listen *other = reading->config->listens;
    for (; other < listen; other++)
        if (listen->address.length > 0 && address_equal(&other->address, &listen->address))
            fault(reading, &reading->seen[row - config_rows], "address",
                  "\"%.200s\" is also the address of listen \"%.100s\"", listen->address_text,
                  other->name);
}

/* A program is the mail server itself: the address beside it would do nothing. */
static void check_backend_is_one(const struct reading *reading,
                                 const struct config_backend *backend)
{
    const struct config_row *row = config_row_find("backend", "address");
    const struct config_place *address = &reading->seen[row - config_rows];
    if (*backend->program && address->line > 0)
        fault(reading, address, "address",
              "is of no use beside \"program\", which is started in its place: leave one out");
}

static void end_element(struct reading *reading)
{
    require_keys(reading);
    if (strcmp(reading->section->name, "listen") == 0)
        check_listen_is_alone(reading, reading->base);
    if (strcmp(reading->section->name, "backend") == 0)
        check_backend_is_one(reading, reading->base);
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], reading->section->name))
            reading->seen[i] = (struct config_place){0};
}

static void on_end(void *context)
{
    struct reading *reading = context;
    if (reading->base && reading->section->element_size > 0)
        end_element(reading);
    reading->section = NULL;
    reading->title = NULL;
    reading->base = reading->config;
}

static void on_fault(void *context, unsigned line, unsigned column, const char *key,
                     const char *why)
{
    const struct reading *reading = context;
    struct config_place place = {reading->file, line, column};
    fault(reading, &place, key, "%s", why);
}

static const char *on_variable(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static void read_file(struct reading *reading, const char *path,
                      const struct config_place *place);

static void on_include(void *context, const struct config_word *pattern)
{
    struct reading *reading = context;
    struct config_include found;
    struct config_place place = place_of(reading, pattern);
    const char *why = NULL;
    const char *from = reading->config->origin->files[reading->file];
    if (reading->depth >= CONFIG_INCLUDE_DEPTH) {
        fault(reading, &place, "include",
              "more than %d files include each other: does one include itself?",
              CONFIG_INCLUDE_DEPTH);
        return;
    }
    if (!config_include_find(&found, from, pattern->text, &why))
        fault(reading, &place, "include", "\"%.300s\": %s", pattern->text, why);
    if (reading->config->origin->file_count + found.count > CONFIG_INCLUDE_FILES)
        fault(reading, &place, "include", "\"%.300s\" makes more than %d files", pattern->text,
              CONFIG_INCLUDE_FILES);
    else
        for (size_t i = 0; !why && i < found.count; i++)
            read_file(reading, found.paths[i], &place);
    config_include_free(&found);
}

/* Parses a file's text; its own includes are relative to it. */
static void parse_file(struct reading *reading, const char *path, const char *text,
                       size_t length)
{
    static const struct config_parser_calls calls = {
        on_set, on_knows, on_unknown, on_begin, on_end, on_include, on_fault, on_variable};
    unsigned from = reading->file;
    int file = config_origin_add_file(reading->config->origin, path);
    if (file < 0) {
        config_fault(reading->config, "", NULL, NULL, "out of memory");
        return;
    }
    reading->file = (unsigned)file;
    reading->depth++;
    config_parse(text, length, &calls, reading);
    reading->depth--;
    reading->file = from;
}

/* Reads a file that is included at `place`. */
static void read_file(struct reading *reading, const char *path,
                      const struct config_place *place)
{
    size_t length = 0;
    struct stat status;
    const char *why = NULL;
    char *text = NULL;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        why = "is no regular file";
    else
        text = config_text_read(path, &length, &why);
    if (text)
        parse_file(reading, path, text, length);
    else
        fault(reading, place, "include", "%.300s: %s", path,
              why ? why : strerrordesc_np(errno));
    free(text);
}

/* Reads the file that was asked for, from `descriptor` unless that is -1, and keeps its text.
 */
static void read_first_file(struct reading *reading, int descriptor)
{
    static const struct config_place nowhere;
    struct config *config = reading->config;
    const char *why = NULL;
    config->text = descriptor < 0 ? config_text_read(config->path, &config->text_length, &why)
                                  : config_text_take(descriptor, &config->text_length, &why);
    if (config->text)
        parse_file(reading, config->path, config->text, config->text_length);
    else
        fault(reading, &nowhere, NULL, "%s", why ? why : strerrordesc_np(errno));
}

/* Reports keys without a default that a section does not have which may stand once only. */
static void require_single_keys(const struct reading *reading)
{
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_option *option = &config_rows[i].option;
        if (!config_row_is_repeatable(&config_rows[i]) && !option->fallback &&
            reading->seen[i].line == 0)
            config_fault(reading->config, option->section, NULL, option->key, "must be given");
    }
}

void config_read(struct config *config, int descriptor)
{
    struct reading reading = {.config = config, .base = config};
    read_first_file(&reading, descriptor);
    if (config->origin->file_count > 0)
        require_single_keys(&reading);
}
