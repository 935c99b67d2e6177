/*
 * Reads the configuration file: main calls it at start, the master again at every reload. The
 * text is prepared (config_text.c), parsed by libconfuse with the table's parser, and each
 * value converted as libconfuse meets it (config_value.c), because only then is its line known.
 * Goes on after a fault, to tell of all; changes nothing outside the struct that it returns.
 */
#include "proxy/config.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config_internal.h"
#include "proxy/fingerprints.h"
#include "proxy/recipients.h"

struct reading {
    struct config *config;
    cfg_t *parser;
    unsigned faults;
    bool passing_over; /* what stands behind an unknown key */
    /* The repeatable section whose last element is not complete yet; NULL: none. */
    const struct config_section *open;
    /* Where each key stood; 0: not yet. For a repeatable section, in this element. */
    unsigned line[CONFIG_ROWS_LIMIT];
};

/* libconfuse's callbacks carry no context. */
static struct reading *reading;

/* Logs "file:line: section: key: why". A line 0 is none; `title` and `key` may be NULL. */
void config_fault(unsigned line, const char *section, const char *title, const char *key,
                  const char *format, ...)
{
    char why[CONFIG_WHY_SIZE], number[16] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);

    const struct config_section *known = config_section_find(section, strlen(section));
    if (known && known->untitled && title && strcmp(known->untitled, title) == 0)
        title = NULL;
    reading->faults++;
    if (line > 0)
        snprintf(number, sizeof number, "%u:", line);
    log_error("%s:%s %s%s%.100s%s%s%.100s%s%s", reading->config->path, number, section,
              title ? " \"" : "", title ? title : "", title ? "\"" : "", *section ? ": " : "",
              key ? key : "", key && *key ? ": " : "", why);
}

static const char *section_name(cfg_t *section)
{
    return section == reading->parser ? "" : cfg_name(section);
}

static unsigned line_of(const cfg_t *section)
{
    return section->line > 0 ? (unsigned)section->line : 1;
}

static unsigned *row_line(const struct config_row *row)
{
    return &reading->line[row - config_rows];
}

static bool is_repeatable(const struct config_row *row)
{
    const char *name = row->option.section;
    const struct config_section *section = config_section_find(name, strlen(name));
    return section && section->element_size > 0;
}

static void *last_element(const struct config_section *section)
{
    size_t count = *config_section_count(section, reading->config);
    return config_section_elements(section, reading->config) +
           (count - 1) * section->element_size;
}

static void take_default(const struct config_row *row, void *base)
{
    char why[CONFIG_WHY_SIZE];
    if (!config_value_default(row, base, why))
        config_fault(0, row->option.section, NULL, row->option.key, "%s", why);
}

/* Adds an element with its defaults. False: no memory. */
static bool begin_element(const struct config_section *section, const char *title,
                          unsigned line)
{
    size_t *count = config_section_count(section, reading->config);
    char **place = (char **)(void *)((char *)reading->config + section->array_offset);
    char *grown = reallocarray(*place, *count + 1, section->element_size);
    char *name = strdup(title);
    if (grown)
        *place = grown;
    if (!grown || !name) {
        free(name);
        config_fault(line, section->name, title, NULL, "out of memory");
        return false;
    }
    ++*count;
    char *element = last_element(section);
    memset(element, 0, section->element_size);
    *(struct config_element *)(void *)element = (struct config_element){name, line};
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section->name))
            take_default(&config_rows[i], element);
    reading->open = section;
    return true;
}

/* The struct that a section's values belong to; NULL: no memory. */
static void *section_base(cfg_t *parser)
{
    const char *name = section_name(parser);
    const struct config_section *section = config_section_find(name, strlen(name));
    if (!section || section->element_size == 0)
        return reading->config;
    if (!reading->open && !begin_element(section, cfg_title(parser), line_of(parser)))
        return NULL;
    return last_element(section);
}

/* libconfuse has met a value. Always returns 0: it shall go on. */
static int take_value(cfg_t *section, cfg_opt_t *option)
{
    char why[CONFIG_WHY_SIZE];
    const struct config_row *row = config_row_find(section_name(section), cfg_opt_name(option));
    void *base = section_base(section);
    unsigned *line = row_line(row);

    section->flags &= ~CFGF_IGNORE_UNKNOWN;
    reading->passing_over = false;
    unsigned before = *line;
    /* Of a list, each element is told of, and then its end. */
    if (before == 0 || !config_row_is_list(row))
        *line = line_of(section);
    if (!base || config_row_is_list(row))
        return 0;
    if (before > 0)
        config_fault(*line, section_name(section), cfg_title(section), row->option.key,
                     "is given twice, first in line %u", before);
    else if (!config_value_take(row, base, cfg_opt_getnstr(option, 0), why))
        config_fault(*line, section_name(section), cfg_title(section), row->option.key, "%s",
                     why);
    return 0;
}

/* Lists come whole, at the end of their section. */
static void take_list(const struct config_row *row, cfg_t *section, void *base)
{
    char why[CONFIG_WHY_SIZE];
    cfg_opt_t *option = cfg_getopt(section, row->option.key);
    if (*row_line(row) == 0)
        return;
    config_value_clear(row, base);
    if (cfg_opt_size(option) == 1 && *cfg_opt_getnstr(option, 0) == '\0')
        return; /* how config_text.c writes an empty one */
    for (unsigned i = 0; i < cfg_opt_size(option); i++)
        if (!config_value_take(row, base, cfg_opt_getnstr(option, i), why))
            config_fault(*row_line(row), row->option.section, cfg_title(section),
                         row->option.key, "%s", why);
}

/* Those of the sections that stand but once. */
static void take_single_lists(void)
{
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        if (!config_row_is_list(row) || is_repeatable(row))
            continue;
        cfg_t *section = *row->option.section ? cfg_getsec(reading->parser, row->option.section)
                                              : reading->parser;
        take_list(row, section, reading->config);
    }
}

/* Tells of keys without a default that `section` does not have. */
static void require_keys(const char *section, const char *title, unsigned line)
{
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        if (config_row_is(row, section) && !row->option.fallback && *row_line(row) == 0)
            config_fault(line, section, title, row->option.key, "must be given");
    }
}

static void check_listen_is_alone(const struct config_listen *listen, unsigned line)
{
    for (const struct config_listen *other = reading->config->listens; other < listen; other++)
        if (listen->address.length > 0 && address_equal(&other->address, &listen->address))
            config_fault(line, "listen", listen->name, "address",
                         "\"%.200s\" is also the address of listen \"%.100s\"",
                         listen->address_text, other->name);
}

static void end_element(const struct config_section *section, cfg_t *parser, unsigned line)
{
    const char *title = cfg_title(parser);
    void *element = last_element(section);
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section->name) &&
            config_row_is_list(&config_rows[i]))
            take_list(&config_rows[i], parser, element);
    if (title && !*title)
        config_fault(line, section->name, title, NULL, "the name is empty");
    require_keys(section->name, title, line);
    if (strcmp(section->name, "listen") == 0)
        check_listen_is_alone(element, *row_line(config_row_find("listen", "address")));
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section->name))
            reading->line[i] = 0;
    reading->open = NULL;
}

/* libconfuse has come to the end of a section. Always returns 0. */
static int close_section(cfg_t *parser, cfg_opt_t *option)
{
    const char *name = cfg_opt_name(option);
    const struct config_section *section = config_section_find(name, strlen(name));
    if (section->element_size == 0)
        return 0;
    cfg_t *closed = cfg_opt_getnsec(option, cfg_opt_size(option) - 1);
    if (reading->open || begin_element(section, cfg_title(closed), line_of(parser)))
        end_element(section, closed, line_of(parser));
    return 0;
}

/* libconfuse does not understand the file, or not one of its words. */
PRINTF_LIKE(2, 0)
static void parser_fault(cfg_t *section, const char *format, va_list arguments)
{
    char text[CONFIG_WHY_SIZE];
    unsigned line = line_of(section);
    const char *name = section_name(section), *title = cfg_title(section);

    if (strncmp(format, "no such option", strlen("no such option")) == 0) {
        /* Makes libconfuse pass over it and go on; taken back at the next known key. */
        section->flags |= CFGF_IGNORE_UNKNOWN;
        reading->passing_over = true;
        config_fault(line, name, title, va_arg(arguments, const char *),
                     "there is no such key");
    } else if (strncmp(format, "found duplicate title", strlen("found duplicate title")) == 0) {
        config_fault(line, "", NULL, NULL, "an earlier section is also called \"%.100s\"",
                     va_arg(arguments, const char *));
    } else if (!reading->passing_over) {
        vsnprintf(text, sizeof text, format, arguments);
        config_fault(line, name, title, NULL, "%s", text);
    }
}

static void text_fault(void *context, unsigned line, const char *key, const char *why)
{
    (void)context;
    config_fault(line, "", NULL, key, "%s", why);
}

static void default_listens(void)
{
    char why[CONFIG_WHY_SIZE];
    const struct config_row *address = config_row_find("listen", "address");
    const struct config_row *tls = config_row_find("listen", "tls");
    const struct config_section *section = config_section_find("listen", strlen("listen"));
    for (size_t i = 0; i < CONFIG_DEFAULT_LISTENS; i++) {
        const struct config_default_listen *listen = &config_default_listens[i];
        if (begin_element(section, listen->name, 0) &&
            (!config_value_take(address, last_element(section), listen->address, why) ||
             !config_value_take(tls, last_element(section), listen->tls, why)))
            config_fault(0, "listen", listen->name, NULL, "%s", why);
    }
    reading->open = NULL;
}

static void default_backend(void)
{
    const struct config_section *section = config_section_find("backend", strlen("backend"));
    (void)begin_element(section, section->untitled, 0);
    reading->open = NULL;
}

static void parse(const char *text)
{
    unsigned before = reading->faults;
    cfg_set_error_function(reading->parser, parser_fault);
    bool parsed = cfg_parse_buf(reading->parser, text) == CFG_SUCCESS;
    if (!parsed && reading->faults == before)
        config_fault(line_of(reading->parser), "", NULL, NULL, "cannot be understood");

    take_single_lists();
    if (!parsed)
        return;
    cfg_t *tls = cfg_getsec(reading->parser, "tls");
    require_keys("tls", NULL, line_of(tls->line > 0 ? tls : reading->parser));
    if (reading->config->listen_count == 0)
        default_listens();
    if (reading->config->backend_count == 0)
        default_backend();
}

static void read_text(const char *text, size_t length)
{
    char *prepared = config_text_prepare(text, length, text_fault, NULL);
    if (!prepared)
        return;
    reading->parser = config_table_parser(take_value, close_section);
    if (reading->parser)
        parse(prepared);
    else
        config_fault(0, "", NULL, NULL, "out of memory");
    free(prepared);
    cfg_free(reading->parser);
    reading->parser = NULL;
}

/* `descriptor`: -1: the file is opened by its path. */
static void read_file(int descriptor)
{
    size_t length = 0;
    const char *why = NULL;
    char *text = descriptor < 0 ? config_text_read(reading->config->path, &length, &why)
                                : config_text_take(descriptor, &length, &why);
    if (!text) {
        reading->faults++;
        log_error("%s: %s", reading->config->path, why ? why : strerror(errno));
        return;
    }
    for (size_t i = 0; i < config_row_count; i++)
        if (!is_repeatable(&config_rows[i]))
            take_default(&config_rows[i], reading->config);
    read_text(text, length);
    reading->config->text = text;
    reading->config->text_length = length;
    if (reading->faults > 0)
        return;
    config_check(reading->config, *row_line(config_row_find("auth", "share")));
}

static struct config *load(const char *path, int descriptor)
{
    struct reading this = {.config = calloc(1, sizeof(struct config))};
    if (!this.config || !(this.config->path = strdup(path))) {
        log_error("%s: out of memory", path);
        config_free(this.config);
        return NULL;
    }
    reading = &this;
    read_file(descriptor);
    reading = NULL;
    if (this.faults == 0)
        return this.config;
    config_free(this.config);
    return NULL;
}

struct config *config_load(const char *path)
{
    return load(path, -1);
}

struct config *config_load_copy(const char *path, int descriptor)
{
    return load(path, descriptor);
}

static void free_elements(const struct config_section *section, struct config *config)
{
    char *elements = config_section_elements(section, config);
    for (size_t i = 0; i < *config_section_count(section, config); i++) {
        char *element = elements + i * section->element_size;
        for (size_t j = 0; j < config_row_count; j++)
            if (config_row_is(&config_rows[j], section->name))
                config_value_free(&config_rows[j], element);
        free(((struct config_element *)(void *)element)->name);
    }
    free(elements);
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->listen_count; i++) {
        free(config->listens[i].backends);
        recipients_free(config->listens[i].recipients);
        fingerprints_free(config->listens[i].fingerprints);
    }
    for (size_t i = 0; i < config_row_count; i++)
        if (!is_repeatable(&config_rows[i]))
            config_value_free(&config_rows[i], config);
    for (size_t i = 0; i < CONFIG_SECTIONS; i++)
        if (config_sections[i].element_size > 0)
            free_elements(&config_sections[i], config);
    free(config->path);
    free(config->text);
    free(config);
}
