/* The order of the checks, so that all of them are made. Owns nothing; opens no socket. */
#include "proxy/check.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "proxy/contexts.h"
#include "proxy/host.h"
#include "proxy/opener.h"
#include "proxy/overlap.h"
#include "proxy/rights.h"

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Takes the last part of a path away. */
static void cut(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = '\0';
}

/* A start makes the last directory, but not the one above it; what is below /run comes with the
 * service. Without the socket of the default place there is a start. */
static bool check_socket(const struct config *config)
{
    const char *path = config->admin.socket;
    char directory[PATH_MAX];
    struct stat status;
    if (!*path || strcmp(path, CONFIG_ADMIN_SOCKET) == 0 || strncmp(path, "/run/", 5) == 0)
        return true;
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        config_error(config, "admin", NULL, "socket", "%s is there, and is no socket", path);
        return false;
    }
    snprintf(directory, sizeof directory, "%s", path);
    cut(directory);
    bool good = is_directory(directory);
    cut(directory);
    if (good || is_directory(directory))
        return true;
    config_error(config, "admin", NULL, "socket", "%s cannot be made: there is no directory %s",
                 path, directory);
    return false;
}

bool check_host_for(const struct config *config, bool now, const char **remark)
{
    struct contexts *contexts = contexts_new(config);
    bool good = host_check(config, now);
    good &= opener_check(config);
    good &= overlap_check(config);
    good &= check_socket(config);
    bool allowed = rights_check(config);
    *remark = "";
    if (contexts && !contexts_whole(contexts))
        *remark = ", but for a certificate that is not used";
    else if (!allowed)
        *remark = ", but the systemd unit keeps something from it";
    good &= contexts != NULL;
    contexts_free(contexts);
    return good;
}
