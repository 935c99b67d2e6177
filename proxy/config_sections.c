/*
 * The sections of the file, and what is asked of the table of rows (config_table.c): a row by
 * its name, all of them for manual and tests, and libconfuse's parser for them. Adding a
 * section is adding a line here.
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

bool config_key_may_be_empty(const char *key)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is_list(&config_rows[i]) &&
            (config_rows[i].kind != CONFIG_WORDS ||
             strcmp(config_rows[i].option.fallback, "{}") == 0) &&
            strcmp(config_rows[i].option.key, key) == 0)
            return true;
    return false;
}

const struct config_option *config_options(size_t *count)
{
    static struct config_option options[CONFIG_ROWS_LIMIT];
    for (size_t i = 0; i < config_row_count; i++)
        options[i] = config_rows[i].option;
    *count = config_row_count;
    return options;
}

/* Appends libconfuse's rows for a section's keys; returns where the next one goes. */
static cfg_opt_t *add_keys(cfg_opt_t *out, const char *section, cfg_validate_callback_t take)
{
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        if (!config_row_is(row, section))
            continue;
        /* Text for every kind: a wrong number is then ours to explain, and no reason to stop.
         */
        cfg_opt_t one = CFG_STR(row->option.key, NULL, CFGF_NODEFAULT);
        if (config_row_is_list(row))
            one.flags |= CFGF_LIST;
        one.validcb = take;
        *out++ = one;
    }
    return out;
}

cfg_t *config_table_parser(cfg_validate_callback_t take, cfg_validate_callback_t close)
{
    static const cfg_flag_t repeatable = CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES;
    cfg_opt_t keys[CONFIG_ROWS_LIMIT + CONFIG_SECTIONS],
        top[CONFIG_ROWS_LIMIT + CONFIG_SECTIONS + 1];
    cfg_opt_t *next_key = keys, *next_top = add_keys(top, "", take);
    const cfg_opt_t end = CFG_END();

    for (size_t i = 0; i < CONFIG_SECTIONS; i++) {
        const struct config_section *each = &config_sections[i];
        cfg_opt_t section =
            CFG_SEC(each->name, next_key, each->element_size > 0 ? repeatable : CFGF_NONE);
        section.validcb = close;
        *next_top++ = section;
        next_key = add_keys(next_key, each->name, take);
        *next_key++ = end;
    }
    *next_top = end;
    return cfg_init(top, CFGF_NONE);
}
