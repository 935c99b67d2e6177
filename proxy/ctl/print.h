/* Tables and figures for people. Nothing that is printed can move a terminal's cursor. */
#ifndef POSTERN_CTL_PRINT_H
#define POSTERN_CTL_PRINT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/ctl/json.h"

#define CTL_CELL_SIZE 104

/* How a column shows its value. */
enum ctl_form { CTL_TEXT, CTL_NUMBER, CTL_BYTES, CTL_AGE };

struct ctl_column {
    const char *title, *key; /* of the objects' member */
    enum ctl_form form;
};

/* A line for each object of a list, under the titles, which alone tell of an empty one. */
void ctl_print_table(struct ctl_value list, const struct ctl_column *columns, size_t count);

/* "3d 4h", "12m 7s". */
void ctl_format_age(int64_t ms, char out[static CTL_CELL_SIZE]);
/* "1.5 MB". */
void ctl_format_bytes(int64_t bytes, char out[static CTL_CELL_SIZE]);
/* The whole of a string as a line of its own, likewise. */
void ctl_print_line(FILE *out, struct ctl_value value);
/* A string, with "?" for what does not belong on a terminal, and "-" for none. */
void ctl_format_text(struct ctl_value value, char out[static CTL_CELL_SIZE]);

#endif
