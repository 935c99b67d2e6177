/*
 * Tries each file of a configuration with the rights that the unit leaves to root. The kernel
 * is asked, not the modes: while a file is tried, this process does without the capabilities
 * that override them. Needs a process of one thread.
 */
#include "proxy/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/capabilities.h"
#include "proxy/config_internal.h"
#include "proxy/opener.h"
#include "proxy/unit_file.h"

#define UNIT "postern.service"
/* The unit's SupplementaryGroups. */
#define UNIT_GROUP  "postern"
#define OVERRIDING  (CAPABILITY(CAP_DAC_OVERRIDE) | CAPABILITY(CAP_DAC_READ_SEARCH))
#define GROUP_LIMIT 256

struct trial {
    const struct config *config;
    struct unit_file unit;
    rights_visit *visit;
    void *context;
    struct rights_fault fault; /* room for the one that is told of */
    int count;
};

static void read_unit(struct unit_file *unit, const char *path)
{
    const char *why;
    size_t length = 0;
    char *text = config_text_read(path, &length, &why);
    if (text)
        unit_file_read(unit, text, length);
    free(text);
}

/* Where systemd looks for units: the first that is found counts, and drop-ins everywhere. */
static bool find_unit(struct unit_file *unit)
{
    static const char *const places[] = {"/etc/systemd/system", "/run/systemd/system",
                                         "/usr/local/lib/systemd/system",
                                         "/usr/lib/systemd/system", "/lib/systemd/system"};
    enum { PLACES = sizeof places / sizeof places[0] };
    char path[PATH_MAX];
    bool found = false;
    memset(unit, 0, sizeof *unit);
    for (size_t i = 0; i < PLACES && !found; i++) {
        snprintf(path, sizeof path, "%s/" UNIT, places[i]);
        found = access(path, R_OK) == 0;
        if (found)
            read_unit(unit, path);
    }
    for (size_t i = 0; i < PLACES && found; i++) {
        glob_t list;
        snprintf(path, sizeof path, "%s/" UNIT ".d/*.conf", places[i]);
        if (glob(path, 0, NULL, &list) == 0)
            for (size_t j = 0; j < list.gl_pathc; j++)
                read_unit(unit, list.gl_pathv[j]);
        globfree(&list);
    }
    return found;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat left, right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
           left.st_ino == right.st_ino;
}

/* Is there a unit that runs this configuration? */
static bool find_unit_of(const struct config *config, struct unit_file *unit)
{
    return find_unit(unit) && *unit->configuration &&
           is_same_file(unit->configuration, config->path);
}

/* And may this process do more? */
static bool applies(struct trial *trial)
{
    uint64_t all = OVERRIDING | CAPABILITY(CAP_SYS_ADMIN) | CAPABILITY(CAP_SETGID);
    return geteuid() == 0 && (capabilities_permitted() & all) == all &&
           find_unit_of(trial->config, &trial->unit);
}

uint64_t rights_descriptors(const struct config *config)
{
    struct unit_file unit;
    return find_unit_of(config, &unit) ? unit.descriptors : 0;
}

static void tell(struct trial *trial)
{
    trial->count++;
    trial->visit(trial->context, &trial->fault);
}

/* "acme", or its number. */
static void owner_of(const char *path, char out[static 64], unsigned *mode)
{
    struct stat status = {0};
    const struct passwd *entry = stat(path, &status) == 0 ? getpwuid(status.st_uid) : NULL;
    *mode = status.st_mode & 07777u;
    if (entry)
        snprintf(out, 64, "%s", entry->pw_name);
    else
        snprintf(out, 64, "uid %u", (unsigned)status.st_uid);
}

/* Opens a file without the rights that override its mode, and as of the unit's group. Returns
 * 0, or errno. */
static int try_to_open(const char *path, int flags)
{
    gid_t groups[GROUP_LIMIT];
    const struct group *group = getgrnam(UNIT_GROUP);
    gid_t one = group ? group->gr_gid : 0;
    int count = getgroups(GROUP_LIMIT, groups);
    if (count < 0 || setgroups(1, &one) < 0)
        return 0;
    int error = 0;
    if (capabilities_suspend(OVERRIDING)) {
        int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        error = fd < 0 ? errno : 0;
        if (fd >= 0)
            close(fd);
        if (!capabilities_suspend(0))
            abort();
    }
    if (setgroups((size_t)count, groups) < 0)
        abort();
    return error;
}

/* The first directory above a file that cannot be entered; else the file itself. */
static void find_barrier(const char *path, char out[static PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s", path);
    for (char *slash = strchr(out + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        char *after = strchrnul(slash + 1, '/');
        char kept = *after;
        *after = '\0';
        int error = try_to_open(out, O_PATH);
        *after = kept;
        if (error == EACCES) {
            *slash = '\0';
            return;
        }
    }
}

static bool is_below(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || !path[length]);
}

/* A directory that the unit hides, or NULL, and which of its settings does. */
static const char *hidden_by(const struct unit_file *unit, const char *path,
                             const char **setting)
{
    static const char *const homes[] = {"/home", "/root", "/run/user"};
    static const char *const scratch[] = {"/tmp", "/var/tmp"};
    *setting = "ProtectHome";
    for (size_t i = 0; unit->hides_homes && i < sizeof homes / sizeof homes[0]; i++)
        if (is_below(path, homes[i]))
            return homes[i];
    *setting = "PrivateTmp";
    for (size_t i = 0; unit->private_tmp && i < sizeof scratch / sizeof scratch[0]; i++)
        if (is_below(path, scratch[i]))
            return scratch[i];
    return NULL;
}

static void tell_hidden(struct trial *trial, const char *path, const char *directory,
                        const char *setting)
{
    snprintf(trial->fault.why, sizeof trial->fault.why,
             UNIT " does not see %s, as it hides %s (%s=yes)", path, directory, setting);
    snprintf(trial->fault.advice, sizeof trial->fault.advice,
             "copy it to a directory of root's, as /etc/postern, or write %s=no into a drop-in "
             "(systemctl edit postern)",
             setting);
    tell(trial);
}

static void tell_barred(struct trial *trial, const char *path, const char *verb)
{
    char barrier[PATH_MAX], owner[64];
    unsigned mode;
    find_barrier(path, barrier);
    owner_of(barrier, owner, &mode);
    snprintf(trial->fault.why, sizeof trial->fault.why,
             UNIT " cannot %s %s: %s belongs to %s (mode %04o), and the unit's root has no "
                  "right to override that",
             verb, path, strcmp(barrier, path) == 0 ? "it" : barrier, owner, mode);
    snprintf(trial->fault.advice, sizeof trial->fault.advice,
             "chown root %s, or write CapabilityBoundingSet=CAP_DAC_READ_SEARCH into a drop-in "
             "(systemctl edit postern)",
             barrier);
    tell(trial);
}

static void name(struct trial *trial, const char *section, const char *title, const char *key)
{
    trial->fault.section = section;
    trial->fault.title = title;
    trial->fault.key = key;
}

static void try_to_read(struct trial *trial, const char *section, const char *title,
                        const char *key, const char *path)
{
    const char *setting;
    char *real = *path == '/' ? realpath(path, NULL) : NULL;
    if (!real)
        return;
    name(trial, section, title, key);
    const char *hidden = hidden_by(&trial->unit, real, &setting);
    if (hidden)
        tell_hidden(trial, strcmp(real, path) == 0 ? path : real, hidden, setting);
    else if (!unit_file_reads_all(&trial->unit) && try_to_open(real, O_RDONLY) == EACCES)
        tell_barred(trial, real, "read");
    free(real);
}

static void try_to_make(struct trial *trial, const char *section, const char *key,
                        const char *path)
{
    if (*path != '/' || unit_file_may_write(&trial->unit, path))
        return;
    name(trial, section, NULL, key);
    snprintf(trial->fault.why, sizeof trial->fault.why,
             UNIT " cannot write to %s: the system is read-only to it, but for%s "
                  "(ProtectSystem=strict)",
             path, *trial->unit.writable ? trial->unit.writable : " nothing");
    snprintf(trial->fault.advice, sizeof trial->fault.advice,
             "change the path, or write ReadWritePaths= with its directory into a drop-in "
             "(systemctl edit postern)");
    tell(trial);
}

static void try_to_append(struct trial *trial, const char *section, const char *key,
                          const char *path)
{
    try_to_make(trial, section, key, path);
    if (!unit_file_reads_all(&trial->unit) && unit_file_may_write(&trial->unit, path) &&
        try_to_open(path, O_WRONLY | O_APPEND) == EACCES) {
        name(trial, section, NULL, key);
        tell_barred(trial, path, "write to");
    }
}

/* Programs as backends, and backends that see the client's own address. */
static void try_backends(struct trial *trial)
{
    const struct config *config = trial->config;
    uint64_t missing = opener_needs(config) & ~trial->unit.capabilities;
    for (size_t i = 0; trial->unit.bounded && missing && i < config->backend_count; i++) {
        const struct config_backend *backend = &config->backends[i];
        bool transparent = backend->identity == CONFIG_IDENTITY_TRANSPARENT;
        if (!*backend->program && !transparent)
            continue;
        name(trial, "backend", backend->name, transparent ? "identity" : "program");
        snprintf(trial->fault.why, sizeof trial->fault.why,
                 UNIT " cannot open backends like this, as it has no %s",
                 capabilities_name(missing));
        snprintf(trial->fault.advice, sizeof trial->fault.advice,
                 "make a drop-in (systemctl edit postern) with the lines that \"Confinement\" "
                 "in postern(8) has for such a backend");
        tell(trial);
        return;
    }
}

static void try_listener(struct trial *trial, const struct config_listen *listen)
{
    try_to_read(trial, "listen", listen->name, "client_ca", listen->client_ca);
    try_to_read(trial, "listen", listen->name, "client_crl", listen->client_crl);
    try_to_read(trial, "listen", listen->name, "external", listen->external);
    for (size_t i = 0; i < listen->recipient_words.count; i++)
        try_to_read(trial, "listen", listen->name, "recipients",
                    listen->recipient_words.text[i]);
}

static void try_all(struct trial *trial)
{
    const struct config *config = trial->config;
    const char *file;
    for (size_t i = 0; (file = config_file(config, i)); i++)
        try_to_read(trial, "", NULL, NULL, file);
    try_to_read(trial, "tls", NULL, "certificate", config->tls.certificate);
    try_to_read(trial, "tls", NULL, "key", config->tls.key);
    try_to_read(trial, "tls", NULL, "ticket_secret", config->tls.ticket_secret);
    for (size_t i = 0; i < config->certificate_count; i++) {
        const struct config_certificate *pair = &config->certificates[i];
        try_to_read(trial, "certificate", pair->name, "certificate", pair->certificate);
        try_to_read(trial, "certificate", pair->name, "key", pair->key);
    }
    for (size_t i = 0; i < config->listen_count; i++)
        try_listener(trial, &config->listens[i]);
    for (size_t i = 0; i < config->backend_count; i++)
        try_to_read(trial, "backend", config->backends[i].name, "ca", config->backends[i].ca);
    try_backends(trial);
    try_to_read(trial, "auth", NULL, "pam_confdir", config->auth.pam_confdir);
    if (config->log.destination == LOG_TO_FILE)
        try_to_append(trial, "log", "file", config->log_file);
    try_to_make(trial, "admin", "socket", config->admin.socket);
}

int rights_each(const struct config *config, rights_visit *visit, void *context)
{
    static struct trial trial;
    trial = (struct trial){.config = config, .visit = visit, .context = context};
    if (!applies(&trial))
        return -1;
    try_all(&trial);
    return trial.count;
}

static void warn(void *context, const struct rights_fault *fault)
{
    config_warn(context, fault->section, fault->title, fault->key, "%s: %s", fault->why,
                fault->advice);
}

bool rights_check(const struct config *config)
{
    return rights_each(config, warn, (void *)(uintptr_t)config) <= 0;
}
