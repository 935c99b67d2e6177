/*
 * What the systemd unit takes from root: files of a configuration that this process, a root's
 * shell, can use, but the service could not. Used by `postern -n`, `postern setup` and the
 * doctor.
 */
#ifndef POSTERN_RIGHTS_H
#define POSTERN_RIGHTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

struct rights_fault {
    const char *section, *title, *key; /* of the file, as for config_error() */
    char why[PATH_MAX + 512];          /* "the unit ... cannot read ..." */
    char advice[PATH_MAX + 512];       /* an imperative */
};

/* The hard limit of descriptors of the unit that runs this configuration; 0: there is no such
 * unit, it says none, or this process cannot tell. */
uint64_t rights_descriptors(const struct config *config);

typedef void rights_visit(void *context, const struct rights_fault *fault);

/*
 * Calls `visit` for each fault. Returns how many there are; -1 if there is nothing to be said:
 * no unit runs this configuration, or this process has not all of root's rights, so that it
 * meets with the faults themselves. Opens files, reads and changes nothing.
 */
int rights_each(const struct config *config, rights_visit *visit, void *context);

/* Logs each fault as a warning. True: there was none. */
MUST_USE bool rights_check(const struct config *config);

#endif
