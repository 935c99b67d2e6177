/*
 * From the pattern of an `include` to the names of files. Called by config.c, which reads them
 * and keeps the bounds. A directory that cannot be read is a fault: settings would be lost in
 * silence.
 */
#include "proxy/config_include.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add_path(struct config_include *out, const char *path)
{
    char **grown = reallocarray(out->paths, out->count + 1, sizeof *grown);
    if (!grown)
        return false;
    out->paths = grown;
    grown[out->count] = strdup(path);
    return grown[out->count++] != NULL;
}

/* The directory of `from` and then the pattern; in a glob, nothing in the directory's own name
 * is a wildcard. False: too long. */
static bool join(const char *from, const char *pattern, bool escape, char out[static PATH_MAX])
{
    const char *slash = pattern[0] == '/' ? NULL : strrchr(from, '/');
    size_t length = 0;
    for (const char *at = from; slash && at <= slash && length + 2 < PATH_MAX; at++) {
        if (escape && strchr("*?[\\", *at))
            out[length++] = '\\';
        out[length++] = *at;
    }
    return length + 2 < PATH_MAX &&
           snprintf(out + length, PATH_MAX - length, "%s", pattern) < (int)(PATH_MAX - length);
}

static int on_error(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

static bool match(struct config_include *out, const char *pattern, const char **why)
{
    glob_t found = {0};
    int result = glob(pattern, 0, on_error, &found);
    *why = "out of memory";
    if (result == GLOB_ABORTED)
        *why = "its directory cannot be read";
    bool good = result == 0 || result == GLOB_NOMATCH;
    for (size_t i = 0; good && result == 0 && i < found.gl_pathc; i++)
        good = add_path(out, found.gl_pathv[i]);
    globfree(&found);
    return good;
}

bool config_include_find(struct config_include *out, const char *from, const char *pattern,
                         const char **why)
{
    char path[PATH_MAX];
    bool wild = strpbrk(pattern, "*?[") != NULL;
    *out = (struct config_include){0};
    *why = "the path is too long";
    if (!join(from, pattern, wild, path))
        return false;
    *why = "out of memory";
    if (wild ? !match(out, path, why) : !add_path(out, path))
        return false;
    *why = NULL;
    return true;
}

void config_include_free(struct config_include *include)
{
    for (size_t i = 0; i < include->count; i++)
        free(include->paths[i]);
    free(include->paths);
    *include = (struct config_include){0};
}
