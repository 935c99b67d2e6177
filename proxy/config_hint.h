/* What a reader may have meant by a name that is not known where it stands. For config.c. */
#ifndef POSTERN_CONFIG_HINT_H
#define POSTERN_CONFIG_HINT_H

#include "proxy/config_internal.h"

/* Explains a key that the section ("": the top level) does not have. Returns `why`. */
const char *config_hint_key(const char *section, const char *key,
                            char why[static CONFIG_WHY_SIZE]);

/* Explains a section that does not exist. Returns `why`. */
const char *config_hint_section(const char *name, char why[static CONFIG_WHY_SIZE]);

#endif
