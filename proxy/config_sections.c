/*
 * The sections of the file, and what is asked of the table of rows (config_table.c): a row by
 * its name, and all of them for manual and tests. Adding a section is adding a line here.
 */
#include <string.h>

#include "proxy/config_internal.h"

#define ELEMENTS(array, count, type)                                                           \
    sizeof(struct type), offsetof(struct config, array), offsetof(struct config, count)

const struct config_section config_sections[CONFIG_SECTIONS] = {
    {"tls"},
    {"certificate", ELEMENTS(certificates, certificate_count, config_certificate)},
    {"listen", ELEMENTS(listens, listen_count, config_listen)},
    {"auth"},
    {"backend", ELEMENTS(backends, backend_count, config_backend), "default"},
    {"limits"},
    {"timeouts"},
    {"admin"},
    {"log"},
};
#define IS_ELEMENT(type)                                                                       \
    (offsetof(struct type, name) == offsetof(struct config_element, name) &&                   \
     offsetof(struct type, line) == offsetof(struct config_element, line))
_Static_assert(IS_ELEMENT(config_listen) && IS_ELEMENT(config_certificate) &&
                   IS_ELEMENT(config_backend),
               "elements begin with their title and line");

const struct config_section *config_section_find(const char *name, size_t length)
{
    for (size_t i = 0; i < CONFIG_SECTIONS; i++)
        if (strlen(config_sections[i].name) == length &&
            memcmp(config_sections[i].name, name, length) == 0)
            return &config_sections[i];
    return NULL;
}

const struct config_row *config_row_find(const char *section, const char *key)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section) &&
            strcmp(config_rows[i].option.key, key) == 0)
            return &config_rows[i];
    return NULL;
}

bool config_row_is_repeatable(const struct config_row *row)
{
    const char *name = row->option.section;
    const struct config_section *section = config_section_find(name, strlen(name));
    return section && section->element_size > 0;
}

bool config_row_may_be_empty(const struct config_row *row)
{
    return row->kind != CONFIG_WORDS || strcmp(row->option.fallback, "{}") == 0;
}

const struct config_option *config_options(size_t *count)
{
    static struct config_option options[CONFIG_ROWS_LIMIT];
    for (size_t i = 0; i < config_row_count; i++)
        options[i] = config_rows[i].option;
    *count = config_row_count;
    return options;
}
