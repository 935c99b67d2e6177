/* A configuration as text: each value that is not its default, one a line, in the table's
 * order. */
#ifndef POSTERN_TEST_CONFIG_DUMP_H
#define POSTERN_TEST_CONFIG_DUMP_H

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config_internal.h"

static inline void dump_networks(FILE *out, const struct config_networks *networks)
{
    for (size_t i = 0; i < networks->count; i++) {
        const unsigned char *bytes = (const unsigned char *)&networks->network[i];
        fprintf(out, "%s", i > 0 ? ", " : "");
        for (size_t j = 0; j < sizeof networks->network[i]; j++)
            fprintf(out, "%02x", bytes[j]);
    }
}

static inline void dump_texts(FILE *out, const struct config_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", texts->text[i]);
}

/* As text, to be freed. */
static inline char *dump_value(const struct config_row *row, const void *base)
{
    const void *field = (const char *)base + row->offset;
    const uint32_t *bits = field;
    char *text = NULL, place[ADDRESS_TEXT_SIZE];
    size_t length;
    FILE *out = open_memstream(&text, &length);
    switch (row->kind) {
    case CONFIG_TEXT:
        fprintf(out, "\"%s\"", *(char *const *)field);
        break;
    case CONFIG_ADDRESS:
        address_text(
            (const struct address *)(const void *)((const char *)base + row->address_offset),
            place);
        fprintf(out, "\"%s\" (%s)", *(char *const *)field, place);
        break;
    case CONFIG_FLAG:
        fputs(*(const bool *)field ? "true" : "false", out);
        break;
    case CONFIG_CHOICE:
        fputs(row->word(*(const unsigned *)field), out);
        break;
    case CONFIG_WORDS:
        for (unsigned i = 0; row->word(i); i++)
            if (*bits & 1u << i)
                fprintf(out, "%s%s", *bits & ((1u << i) - 1) ? " " : "", row->word(i));
        break;
    case CONFIG_TEXTS:
        dump_texts(out, field);
        break;
    case CONFIG_NETWORKS:
        dump_networks(out, field);
        break;
    default:
        fprintf(out, "%u", *(const unsigned *)field);
    }
    fclose(out);
    return text;
}

static inline void dump_row(FILE *out, const struct config_row *row, const char *title,
                            const void *base)
{
    char why[CONFIG_WHY_SIZE];
    void *fresh = calloc(1, sizeof(struct config) + sizeof(struct config_listen));
    if (!fresh || !config_value_default(row, fresh, why))
        abort();
    char *value = dump_value(row, base);
    char *fallback = row->option.fallback ? dump_value(row, fresh) : strdup("");
    if (strcmp(value, fallback) != 0)
        fprintf(out, "%s%s%s %s = %s\n", row->option.section, *title ? " " : "", title,
                row->option.key, value);
    config_value_free(row, fresh);
    free(fresh);
    free(value);
    free(fallback);
}

static inline void dump_rows(FILE *out, const char *section, const char *title,
                             const void *base)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section))
            dump_row(out, &config_rows[i], title, base);
}

/* To be freed. */
static inline char *dump_config(struct config *config)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    dump_rows(out, "", "", config);
    for (size_t i = 0; i < CONFIG_SECTIONS; i++) {
        const struct config_section *section = &config_sections[i];
        if (section->element_size == 0) {
            dump_rows(out, section->name, "", config);
            continue;
        }
        for (size_t j = 0; j < *config_section_count(section, config); j++) {
            const char *element =
                config_section_elements(section, config) + j * section->element_size;
            const char *name = ((const struct config_element *)(const void *)element)->name;
            fprintf(out, "%s %s\n", section->name, name);
            dump_rows(out, section->name, name, element);
        }
    }
    fclose(out);
    return text;
}

#endif
