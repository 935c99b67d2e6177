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

static bool open_file(const char *path)
{
    int fd = log_output_open(path);
    if (fd < 0) {
        log_error("log: file: %s cannot be opened: %s", path, strerrordesc_np(errno));
        return false;
    }
    log_set_file(fd);
    if (descriptor >= 0)
        close(descriptor);
    descriptor = fd;
    return true;
}

bool log_file_use(const char *path)
{
    if (strlen(path) >= sizeof current) {
        log_error("log: file: the path is too long");
        return false;
    }
    if (!open_file(path))
        return false;
    if (path != current)
        strcpy(current, path);
    return true;
}

void log_file_reopen(void)
{
    if (descriptor >= 0 && open_file(current))
        log_notice("%s has been opened anew", current);
}
