/*
 * The doctor's checks of who can read keys and who can change what Postern reads. Called
 * through the table in doctor.c; looks at modes and owners. A file is opened only to see
 * whether it is a key.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/doctor_internal.h"
#include "proxy/rights.h"
#include "tls/certificate.h"

static bool is_trusted(uid_t owner)
{
    return owner == 0 || owner == geteuid();
}

/* In the group's name, or its number. */
static void write_group(gid_t gid, char out[static 64])
{
    const struct group *group = getgrgid(gid);
    if (group)
        snprintf(out, 64, "%s", group->gr_name);
    else
        snprintf(out, 64, "%u", (unsigned)gid);
}

static bool is_group_of(const char *user, gid_t gid)
{
    gid_t groups[64];
    int count = sizeof groups / sizeof groups[0];
    const struct passwd *entry = getpwnam(user);
    if (!entry || getgrouplist(user, entry->pw_gid, groups, &count) < 0)
        return false;
    for (int i = 0; i < count; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

static void check_key(struct doctor *doctor, const char *path, const struct stat *status)
{
    char group[64];
    unsigned mode = status->st_mode & 07777u;
    write_group(status->st_gid, group);
    if (mode & (S_IROTH | S_IWOTH)) {
        doctor_fault(doctor, "%s: anybody on this host can read or change this key (mode %04o)",
                     path, mode);
        doctor_advise(doctor, "chmod 0600 %s, and replace the key: others may have read it",
                      path);
    } else if (mode & S_IWGRP && status->st_gid != 0) {
        doctor_fault(doctor, "%s: group %s can change this key (mode %04o)", path, group, mode);
        doctor_advise(doctor, "chmod g-w %s", path);
    } else if (mode & S_IRGRP && is_group_of(doctor->config->user, status->st_gid)) {
        doctor_fault(doctor, "%s: user %s, which speaks to the network, can read this key",
                     path, doctor->config->user);
        doctor_advise(doctor, "chmod 0600 %s: the master reads it as root", path);
    } else if (!is_trusted(status->st_uid)) {
        doctor_fault(doctor, "%s: this key belongs to uid %u, not to root", path,
                     (unsigned)status->st_uid);
        doctor_advise(doctor, "chown root %s", path);
    } else {
        doctor_good(doctor, "%s: mode %04o%s%s", path, mode,
                    mode & S_IRGRP ? ", readable by group " : "", mode & S_IRGRP ? group : "");
    }
}

void doctor_check_keys(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor_pair_count(doctor); i++) {
        struct doctor_pair pair = doctor_pair(doctor, i);
        struct stat status;
        if (tls_certificate_swapped(pair.key, TLS_CERTIFICATE_KEY))
            continue; /* its mode is a certificate's; the check of certificates reports it */
        if (stat(pair.key, &status) == 0)
            check_key(doctor, pair.key, &status);
        else if (errno == EACCES)
            doctor_skip(doctor, "%s: only root can see this key's mode", pair.key);
    }
}

/* Whoever can write to one of the directories above a file can put another one there. In a
 * sticky one only the owner of the file can. */
static bool is_safe(const char *path, bool directory, char why[static 128])
{
    struct stat status;
    if (stat(path, &status) < 0)
        return true;
    if (!is_trusted(status.st_uid)) {
        snprintf(why, 128, "it belongs to uid %u, not to root", (unsigned)status.st_uid);
        return false;
    }
    bool sticky = directory && status.st_mode & S_ISVTX;
    bool group = status.st_mode & S_IWGRP && status.st_gid != 0;
    if (!sticky && (status.st_mode & S_IWOTH || group)) {
        snprintf(why, 128, "%s can write to it (mode %04o)",
                 status.st_mode & S_IWOTH ? "anybody" : "its group",
                 (unsigned)(status.st_mode & 07777));
        return false;
    }
    return true;
}

/* Where symbolic links lead; of a file that is not there yet, its directory. To be freed. */
static char *real_path(const char *path, bool *directory)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    char *real = realpath(path, NULL);
    if (real || !slash || slash == path)
        return real;
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    *directory = true;
    return realpath(parent, NULL);
}

/* The file and every directory above it, where symbolic links lead. False: a fault was told. */
static bool check_path(struct doctor *doctor, const char *path)
{
    char why[128];
    bool safe = true, directory = false;
    char *real = real_path(path, &directory);
    for (char *end = real; real && safe && end; directory = true) {
        safe = is_safe(*real ? real : "/", directory, why);
        if (!safe) {
            doctor_fault(doctor, "%s: %s, and so %s can be replaced", *real ? real : "/", why,
                         path);
            doctor_advise(doctor, "chown root:root %s && chmod go-w %s", *real ? real : "/",
                          *real ? real : "/");
        }
        end = strrchr(real, '/');
        if (end)
            *end = '\0';
    }
    free(real);
    return safe;
}

void doctor_check_directories(struct doctor *doctor)
{
    const char *file;
    bool safe = true;
    for (size_t i = 0; (file = config_file(doctor->config, i)); i++)
        safe &= check_path(doctor, file);
    for (size_t i = 0; i < doctor_pair_count(doctor); i++) {
        struct doctor_pair pair = doctor_pair(doctor, i);
        safe &= check_path(doctor, pair.certificate);
        safe &= check_path(doctor, pair.key);
    }
    if (*doctor->config->auth.pam_confdir)
        safe &= check_path(doctor, doctor->config->auth.pam_confdir);
    if (safe)
        doctor_good(doctor, "nobody but root can replace the configuration, certificates and "
                            "keys");
}

static void tell_unit(void *context, const struct rights_fault *fault)
{
    struct doctor *doctor = context;
    doctor_fault(doctor, "%.900s", fault->why);
    doctor_advise(doctor, "%.900s", fault->advice);
}

/* Nothing where no unit runs this configuration, as in a container. */
void doctor_check_unit(struct doctor *doctor)
{
    int faults = rights_each(doctor->config, tell_unit, doctor);
    if (faults == 0)
        doctor_good(doctor, "the systemd unit lets it use all that the configuration names");
}
