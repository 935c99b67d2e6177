/*
 * The file is opened for appending, so that it may be truncated by others. It is the master's
 * alone: a child has a socket in its place, whose datagrams end here.
 */
#include "proxy/base/log_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/log_output.h"

static char current[PATH_MAX];
static int descriptor = -1;

static bool open_file(const char *path, const char *place)
{
    int fd = log_output_open(path);
    if (fd < 0) {
        log_error("%s: %s cannot be opened: %s", place, path, strerrordesc_np(errno));
        return false;
    }
    log_set_file(fd);
    if (descriptor >= 0)
        close(descriptor);
    descriptor = fd;
    return true;
}

bool log_file_use(const char *path, const char *place)
{
    if (strlen(path) >= sizeof current) {
        log_error("%s: the path is too long", place);
        return false;
    }
    if (!open_file(path, place))
        return false;
    if (path != current)
        strcpy(current, path);
    return true;
}

bool log_file_reopen(const char *place)
{
    if (descriptor < 0 || !open_file(current, place))
        return false;
    log_notice("%s was opened again", current);
    return true;
}
