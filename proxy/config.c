/*
 * A configuration from its file to the struct that the others use, and its end: main loads one
 * at start, the master another at every reload. config_reading.c reads the files; what they do
 * not say is added here, and config_check.c looks at the whole.
 */
#include "proxy/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config_internal.h"
#include "proxy/config_place.h"
#include "proxy/config_reading.h"
#include "proxy/fingerprints.h"
#include "proxy/recipients.h"

static void *last_element(const struct config *config, const struct config_section *section,
                          size_t count)
{
    return config_section_elements(section, config) + (count - 1) * section->element_size;
}

static void take_default(const struct config *config, const struct config_row *row, void *base)
{
    char why[CONFIG_WHY_SIZE];
    if (!config_value_default(row, base, why))
        config_fault(config, row->option.section, NULL, row->option.key, "%s", why);
}

void *config_add_element(struct config *config, const struct config_section *section,
                         const char *title, unsigned line)
{
    size_t *count = config_section_count(section, config);
    char **place = (char **)(void *)((char *)config + section->array_offset);
    char *grown = reallocarray(*place, *count + 1, section->element_size);
    char *name = strdup(title);
    if (grown)
        *place = grown;
    if (!grown || !name) {
        free(name);
        config_fault(config, section->name, title, NULL, "out of memory");
        return NULL;
    }
    char *element = last_element(config, section, ++*count);
    memset(element, 0, section->element_size);
    *(struct config_element *)(void *)element = (struct config_element){name, line};
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section->name))
            take_default(config, &config_rows[i], element);
    return element;
}

/* The listeners of a file that names none. */
static void default_listens(struct config *config)
{
    char why[CONFIG_WHY_SIZE];
    const struct config_row *address = config_row_find("listen", "address");
    const struct config_row *tls = config_row_find("listen", "tls");
    const struct config_section *section = config_section_find("listen", strlen("listen"));
    for (size_t i = 0; i < CONFIG_DEFAULT_LISTENS; i++) {
        const struct config_default_listen *listen = &config_default_listens[i];
        void *element = config_add_element(config, section, listen->name, 0);
        if (element && (!config_value_take(address, element, listen->address, why) ||
                        !config_value_take(tls, element, listen->tls, why)))
            config_fault(config, "listen", listen->name, NULL, "%s", why);
    }
}

static void complete(struct config *config)
{
    const struct config_section *backend = config_section_find("backend", strlen("backend"));
    if (config->listen_count == 0)
        default_listens(config);
    if (config->backend_count == 0 &&
        !config_add_element(config, backend, backend->untitled, 0))
        return;
    if (config->origin->faults == 0)
        config_check(config);
}

/* `descriptor`: -1: the file is opened by its path. */
static void read_config(struct config *config, int descriptor)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (!config_row_is_repeatable(&config_rows[i]))
            take_default(config, &config_rows[i], config);
    config_read(config, descriptor);
    complete(config);
}

static struct config *load(const char *path, int descriptor)
{
    struct config *config = calloc(1, sizeof *config);
    if (!config || !(config->path = strdup(path)) || !(config->origin = config_origin_new())) {
        log_error("%s: out of memory", path);
        if (descriptor >= 0)
            close(descriptor);
        config_free(config);
        return NULL;
    }
    read_config(config, descriptor);
    if (config->origin->faults == 0)
        return config;
    config_free(config);
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
        if (!config_row_is_repeatable(&config_rows[i]))
            config_value_free(&config_rows[i], config);
    for (size_t i = 0; i < CONFIG_SECTIONS; i++)
        if (config_sections[i].element_size > 0)
            free_elements(&config_sections[i], config);
    config_origin_free(config->origin);
    free(config->path);
    free(config->text);
    free(config);
}
