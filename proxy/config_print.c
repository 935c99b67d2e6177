/*
 * The configuration as a file that would give the same one: each key of the table, defaults
 * included. Called by main.c for `postern -T`. Reads the struct by the table's rows, as
 * config_value.c fills it; changes nothing.
 */
#include <stdio.h>
#include <string.h>

#include "proxy/config_internal.h"

/* Quoted as the parser reads it. */
static void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (strchr("\"\\$", *text))
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_element(FILE *out, bool first, const char *text)
{
    fputs(first ? "" : ", ", out);
    print_text(out, text);
}

static void print_words(FILE *out, const struct config_row *row, uint32_t bits)
{
    bool first = true;
    for (unsigned i = 0; row->word(i); i++) {
        if (!(bits & 1u << i))
            continue;
        print_element(out, first, row->word(i));
        first = false;
    }
}

static void print_networks(FILE *out, const struct config_networks *networks)
{
    char text[NETWORK_TEXT_SIZE];
    for (size_t i = 0; i < networks->count; i++) {
        network_text(&networks->network[i], text);
        print_element(out, i == 0, text);
    }
}

static void print_list(FILE *out, const struct config_row *row, const void *field)
{
    const struct config_texts *texts = field;
    fputc('{', out);
    if (row->kind == CONFIG_WORDS)
        print_words(out, row, *(const uint32_t *)field);
    else if (row->kind == CONFIG_NETWORKS)
        print_networks(out, field);
    else
        for (size_t i = 0; i < texts->count; i++)
            print_element(out, i == 0, texts->text[i]);
    fputc('}', out);
}

static void print_value(FILE *out, const struct config_row *row, const void *field)
{
    if (config_row_is_list(row))
        print_list(out, row, field);
    else if (row->kind == CONFIG_NUMBER)
        fprintf(out, "%u", *(const unsigned *)field);
    else if (row->kind == CONFIG_SECONDS)
        fprintf(out, "%u", *(const uint32_t *)field / 1000);
    else if (row->kind == CONFIG_FLAG)
        fputs(*(const bool *)field ? "true" : "false", out);
    else if (row->kind == CONFIG_CHOICE)
        print_text(out, row->word(*(const unsigned *)field));
    else
        print_text(out, *(char *const *)field);
}

/* A backend that is a program has no address, not even the default one. */
static bool is_void(const struct config_row *row, const void *base)
{
    static const size_t address = offsetof(struct config_backend, address_text);
    return config_row_is(row, "backend") && row->offset == address &&
           *((const struct config_backend *)base)->program;
}

static void print_row(FILE *out, const struct config_row *row, const void *base)
{
    const void *field = (const char *)base + row->offset;
    const char *indent = *row->option.section ? "    " : "";
    if (is_void(row, base))
        return;
    if (row->is_secret && **(char *const *)field) {
        fprintf(out, "%s# %s is given, and not shown here\n", indent, row->option.key);
        return;
    }
    fprintf(out, "%s%s = ", indent, row->option.key);
    print_value(out, row, field);
    fputc('\n', out);
}

static void print_rows(FILE *out, const char *section, const void *base)
{
    for (size_t i = 0; i < config_row_count; i++)
        if (config_row_is(&config_rows[i], section))
            print_row(out, &config_rows[i], base);
}

static void print_section(FILE *out, const struct config_section *section, const char *title,
                          const void *base)
{
    fputs(section->name, out);
    fputc(' ', out);
    if (title) {
        print_text(out, title);
        fputc(' ', out);
    }
    fputs("{\n", out);
    print_rows(out, section->name, base);
    fputs("}\n", out);
}

void config_print(struct config *config, FILE *out)
{
    print_rows(out, "", config);
    for (size_t i = 0; i < CONFIG_SECTIONS; i++) {
        const struct config_section *section = &config_sections[i];
        if (section->element_size == 0) {
            print_section(out, section, NULL, config);
            continue;
        }
        const char *element = config_section_elements(section, config);
        for (size_t j = 0; j < *config_section_count(section, config); j++) {
            const char *title = ((const struct config_element *)(const void *)element)->name;
            print_section(out, section, title, element);
            element += section->element_size;
        }
    }
}
