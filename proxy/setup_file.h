/* Files that `postern setup` writes: whole or not at all, and over no other without leave. */
#ifndef POSTERN_SETUP_FILE_H
#define POSTERN_SETUP_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"

struct setup_file {
    FILE *stream; /* to be written to */
    bool force;
    char path[PATH_MAX], scratch[PATH_MAX + 8];
};

/* May a file be written there? False, having said why on standard error. */
MUST_USE bool setup_file_allowed(const char *path, bool force);

/* Is it the sample configuration, as it was installed? */
bool setup_file_is_sample(const char *path);

/* Both return false, having said why on standard error. Between them the file has another name;
 * finish() closes it in any case, and takes it away if anything went wrong. */
MUST_USE bool setup_file_begin(struct setup_file *file, const char *path, mode_t mode,
                               bool force);
MUST_USE bool setup_file_finish(struct setup_file *file, bool good);

/* Makes the last `levels` directories that a file stands in, those that are not there (mode
 * 0755). False, having said why on standard error. */
MUST_USE bool setup_file_make_parents(const char *path, unsigned levels);

/* "/etc/postern/x" from "/etc/postern/postern.conf" and "x"; false: too long. */
MUST_USE bool setup_file_beside(const char *path, const char *name, char out[static PATH_MAX]);

#endif
