/*
 * Where everything of a configuration stands in its files, and the faults that are reported
 * with that. One for each struct config; main, master and doctor ask it through config_where().
 */
#ifndef POSTERN_CONFIG_PLACE_H
#define POSTERN_CONFIG_PLACE_H

#include "proxy/config_internal.h"

/* Line 0: nowhere, as for a default. */
struct config_place {
    unsigned file; /* index */
    unsigned line, column;
};

/* Where a key, or with `row` NULL the head of a section, stands. */
struct config_mark {
    const struct config_section *section; /* NULL: the top level */
    const struct config_row *row;
    size_t element; /* of a repeatable section */
    struct config_place place;
};

struct config_origin {
    char **files; /* the first is the one that was asked for */
    unsigned file_count;
    struct config_mark *marks;
    size_t mark_count;
    unsigned faults;
};

MUST_USE struct config_origin *config_origin_new(void);
void config_origin_free(struct config_origin *origin);

/* Adds a file. Returns its index, or -1 if there is no memory. */
MUST_USE int config_origin_add_file(struct config_origin *origin, const char *path);

/* Remembers a place. Without memory, messages are less exact. */
void config_origin_mark(struct config_origin *origin, const struct config_mark *mark);

/* Line 0: neither the key nor its section stands in a file. */
struct config_place config_find_place(const struct config *config, const char *section,
                                      const char *title, const char *key);

/* Logs "FILE:LINE:COLUMN: section "title": key: why" as an error, and counts it. `section` may
 * be
 * "", `title` and `key` NULL. */
PRINTF_LIKE(6, 7)
void config_fault_at(const struct config *config, const struct config_place *place,
                     const char *section, const char *title, const char *key,
                     const char *format, ...);

#endif
