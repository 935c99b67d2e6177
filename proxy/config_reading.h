/* Fills a struct config from its file and those that are included. For config.c. */
#ifndef POSTERN_CONFIG_READING_H
#define POSTERN_CONFIG_READING_H

#include "proxy/config_internal.h"

/* Reads the file config->path over the defaults, and keeps its text. It is read from
 * `descriptor`, which is closed, unless that is -1. Faults are logged, and counted in its
 * origin. */
void config_read(struct config *config, int descriptor);

/* Adds an element with its defaults to a repeatable section. NULL: no memory, which is logged.
 */
MUST_USE void *config_add_element(struct config *config, const struct config_section *section,
                                  const char *title, unsigned line);

#endif
