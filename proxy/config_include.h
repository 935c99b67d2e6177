/* The files that an `include` names. For config.c. */
#ifndef POSTERN_CONFIG_INCLUDE_H
#define POSTERN_CONFIG_INCLUDE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

/* Files in files, and files in all; both with the one that was asked for. */
#define CONFIG_INCLUDE_DEPTH 8
#define CONFIG_INCLUDE_FILES 256

struct config_include {
    char **paths; /* sorted by their bytes */
    size_t count;
};

/*
 * Finds the files for a pattern that stands in the file `from`: relative to that file's
 * directory, unless it begins with "/". A pattern without "*", "?" or "[" is one file, and need
 * not exist. Returns false, and sets *why (a static phrase), if that cannot be found out.
 */
MUST_USE bool config_include_find(struct config_include *out, const char *from,
                                  const char *pattern, const char **why);

void config_include_free(struct config_include *include);

#endif
