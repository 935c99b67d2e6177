/* The checks of the host. Called by main.c and master.c; what a doctor would advise is not
 * here. */
#include "proxy/host.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/pam.h"
#include "proxy/base/log.h"
#include "proxy/base/log_journal.h"
#include "proxy/pam_modules.h"
#include "proxy/privileges.h"

/* After how long a missing service is looked for again. */
#define LOOK_AGAIN_MS 2000

static bool pam_is_missing; /* and that has been said */

static bool check_auth_user(const struct config *config)
{
    const char *name = config->auth.user;
    if (!*name || getpwnam(name))
        return true;
    config_error(config, "auth", NULL, "user",
                 "there is no user \"%s\" on this system" PRIVILEGES_USERADD, name, name);
    return false;
}

static bool check_users(const struct config *config)
{
    char where[CONFIG_WHERE_SIZE];
    struct privileges_user user;
    log_set_subject(config_where(config, "", NULL, "user", where));
    bool good = privileges_find_user(config->user, &user);
    log_set_subject(NULL);
    return check_auth_user(config) && good;
}

static void warn_of_user(const struct config *config, const char *section, const char *name)
{
    if (*name && !getpwnam(name))
        config_warn(config, section, NULL, "user",
                    "there is no user \"%s\" on this system" PRIVILEGES_USERADD, name, name);
}

/* The directory that a file is in. */
static void parent_of(const char *path, char out[static PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(out, PATH_MAX, ".");
    else
        snprintf(out, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

bool host_may_append(const char *path)
{
    char parent[PATH_MAX];
    struct stat status;
    if (stat(path, &status) == 0) {
        errno = EISDIR;
        return !S_ISDIR(status.st_mode) && access(path, W_OK) == 0;
    }
    parent_of(path, parent);
    return errno == ENOENT && access(parent, W_OK | X_OK) == 0;
}

static bool check_log(const struct config *config)
{
    if (config->log.destination == LOG_TO_JOURNAL && !log_journal_exists())
        config_warn(config, "log", NULL, "destination",
                    "there is no journal (" LOG_JOURNAL_SOCKET
                    ": %s): logging to standard error",
                    strerrordesc_np(errno));
    if (config->log.destination != LOG_TO_FILE || host_may_append(config->log_file))
        return true;
    config_error(config, "log", NULL, "file", "%s cannot be opened: %s", config->log_file,
                 strerrordesc_np(errno));
    return false;
}

/* Does anybody log in with a password? */
static bool needs_pam(const struct config *config)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listens[i];
        uint32_t offered = config->auth.mechanisms & listen->mechanisms;
        if (listen->role == CONFIG_ROLE_SUBMISSION && offered & ~(1u << SASL_EXTERNAL))
            return true;
    }
    return false;
}

/* False: somebody needs it, and it is not there. */
static bool has_pam(const struct config *config, char why[static AUTH_REASON_LIMIT + 1])
{
    const char *directory = config->auth.pam_confdir;
    struct auth_worker_options options = {
        .service = config->auth.pam_service,
        .configuration_directory = *directory ? directory : NULL,
    };
    return !needs_pam(config) || pam_service_exists(&options, why);
}

static void warn_of_module(void *context, const char *text)
{
    config_warn(context, "auth", NULL, "pam_service",
                "%s: until it can be loaded, PAM answers logins as in an outage (454) or takes "
                "the module for one that refuses; install its package, or take its line out",
                text);
}

/* libpam tells of them in each login only, to syslog. */
static void check_pam_modules(const struct config *config)
{
    if (needs_pam(config))
        pam_modules_try(config->auth.pam_service, config->auth.pam_confdir, warn_of_module,
                        (void *)(uintptr_t)config);
}

static void check_pam(const struct config *config)
{
    char why[AUTH_REASON_LIMIT + 1];
    if (!has_pam(config, why)) {
        config_warn(config, "auth", NULL, "pam_service",
                    "%s: until it is there, nobody can log in with a password", why);
        pam_is_missing = true;
    } else if (pam_is_missing) {
        log_notice("PAM service \"%s\" is there: people can log in again",
                   config->auth.pam_service);
        pam_is_missing = false;
    }
}

uint64_t host_tend(const struct config *config, uint64_t now_ms)
{
    static uint64_t next_ms;
    char why[AUTH_REASON_LIMIT + 1];
    if (!pam_is_missing || !config)
        return UINT64_MAX;
    if (now_ms < next_ms)
        return next_ms;
    if (has_pam(config, why))
        check_pam(config);
    next_ms = now_ms + LOOK_AGAIN_MS;
    return next_ms;
}

bool host_check(const struct config *config, bool now)
{
    bool good = true;
    if (geteuid() == 0) {
        good = check_users(config);
    } else if (!now) {
        warn_of_user(config, "", config->user);
        warn_of_user(config, "auth", config->auth.user);
    }
    good &= check_log(config);
    check_pam(config);
    if (!pam_is_missing)
        check_pam_modules(config);
    return good;
}
