/* Columns as wide as their widest cell; numbers to the right. Writes to standard output only.
 */
#include "proxy/ctl/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/escape.h"

#define COLUMNS 16

void ctl_format_age(int64_t ms, char out[static CTL_CELL_SIZE])
{
    static const struct {
        int64_t seconds, rest;
        char name, rest_name;
    } units[] = {{86400, 3600, 'd', 'h'}, {3600, 60, 'h', 'm'}, {60, 1, 'm', 's'}};
    int64_t seconds = ms / 1000;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (seconds < units[i].seconds)
            continue;
        snprintf(out, CTL_CELL_SIZE, "%" PRId64 "%c %" PRId64 "%c", seconds / units[i].seconds,
                 units[i].name, seconds % units[i].seconds / units[i].rest, units[i].rest_name);
        return;
    }
    snprintf(out, CTL_CELL_SIZE, "%" PRId64 "s", seconds);
}

void ctl_format_bytes(int64_t bytes, char out[static CTL_CELL_SIZE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1000;
        unit++;
    }
    snprintf(out, CTL_CELL_SIZE, "%.*f %s", unit > 0 && value < 9.95 ? 1 : 0, value,
             units[unit]);
}

void ctl_format_text(struct ctl_value value, char out[static CTL_CELL_SIZE])
{
    char text[CTL_CELL_SIZE];
    size_t written = 0;
    ctl_json_text(value, text, sizeof text);
    escape(ESCAPE_MASK, text, strlen(text), out, CTL_CELL_SIZE - 1, &written);
    out[written] = '\0';
    if (written == 0)
        strcpy(out, "-");
}

void ctl_print_line(FILE *out, struct ctl_value value)
{
    char text[4096], clean[sizeof text];
    size_t written = 0;
    ctl_json_text(value, text, sizeof text);
    escape(ESCAPE_MASK, text, strlen(text), clean, sizeof clean, &written);
    fprintf(out, "%.*s\n", (int)written, clean);
}

static void format(struct ctl_value object, const struct ctl_column *column,
                   char out[static CTL_CELL_SIZE])
{
    struct ctl_value value = ctl_json_member(object, column->key);
    if (value.length == 0) { /* not known */
        out[0] = '\0';
        return;
    }
    switch (column->form) {
    case CTL_TEXT:
        ctl_format_text(value, out);
        break;
    case CTL_NUMBER:
        snprintf(out, CTL_CELL_SIZE, "%" PRId64, ctl_json_number(value));
        break;
    case CTL_BYTES:
        ctl_format_bytes(ctl_json_number(value), out);
        break;
    case CTL_AGE:
        ctl_format_age(ctl_json_number(value), out);
        break;
    }
}

/* Characters, not bytes. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_cell(const char *text, int width, enum ctl_form form, bool last)
{
    int blanks = width - width_of(text);
    if (form == CTL_TEXT)
        printf("%s%*s", text, last ? 0 : blanks, "");
    else
        printf("%*s%s", blanks, "", text);
    fputs(last ? "\n" : "  ", stdout);
}

static void measure(struct ctl_value list, const struct ctl_column *columns, size_t count,
                    int *widths)
{
    struct ctl_value object;
    char cell[CTL_CELL_SIZE];
    for (size_t i = 0; i < count; i++)
        widths[i] = width_of(columns[i].title);
    while ((object = ctl_json_next(&list, NULL)).length > 0)
        for (size_t i = 0; i < count; i++) {
            format(object, &columns[i], cell);
            if (width_of(cell) > widths[i])
                widths[i] = width_of(cell);
        }
}

void ctl_print_table(struct ctl_value list, const struct ctl_column *columns, size_t count)
{
    int widths[COLUMNS];
    struct ctl_value rest = list, object;
    char cell[CTL_CELL_SIZE];
    if (!ctl_json_is_list(list) || count > COLUMNS)
        return;
    measure(list, columns, count, widths);
    for (size_t i = 0; i < count; i++)
        print_cell(columns[i].title, widths[i], columns[i].form, i + 1 == count);
    while ((object = ctl_json_next(&rest, NULL)).length > 0)
        for (size_t i = 0; i < count; i++) {
            format(object, &columns[i], cell);
            print_cell(cell, widths[i], columns[i].form, i + 1 == count);
        }
}
