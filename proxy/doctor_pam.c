/*
 * The doctor's checks of PAM: is there such a service, and can what it names be loaded? Follows
 * included files as libpam does, and loads the modules as libpam would, but calls nothing in
 * them: nobody's password is asked for.
 */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/doctor_internal.h"
#include "proxy/doctor_pam_line.h"

/* Files within files, as deep as libpam goes. */
#define DEPTH_LIMIT    16
#define MODULES_LIMIT  64
#define FILE_PATH_SIZE (DOCTOR_PAM_PATH_SIZE * 2)

struct module {
    char path[DOCTOR_PAM_PATH_SIZE];
    bool silent;
};

/* What a service comes to. */
struct service {
    const char *directory; /* of the configuration; NULL: the system's */
    bool has[2];           /* by DOCTOR_PAM_AUTH and _ACCOUNT: a line of that type */
    bool cannot_refuse[2]; /* by the same: one whose module calls a refusal a system error */
    struct module modules[MODULES_LIMIT];
    size_t count;
    char fault[FILE_PATH_SIZE + 128]; /* empty: none */
};

static void read_file(struct service *service, const char *name, enum doctor_pam_type only,
                      unsigned depth);

static void add_module(struct service *service, const struct doctor_pam_line *line)
{
    for (size_t i = 0; i < service->count; i++)
        if (strcmp(service->modules[i].path, line->path) == 0) {
            service->modules[i].silent &= line->silent;
            return;
        }
    if (service->count == MODULES_LIMIT)
        return;
    struct module *module = &service->modules[service->count++];
    memcpy(module->path, line->path, sizeof module->path);
    module->silent = line->silent;
}

/* It knows of a program only whether it succeeded. */
static bool calls_refusals_errors(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    return strcmp(name, "pam_exec.so") == 0;
}

/* A line of a file that was included for one type counts for that type only. */
static void take_line(struct service *service, const struct doctor_pam_line *line,
                      enum doctor_pam_type only, unsigned depth)
{
    bool every = line->type == DOCTOR_PAM_EVERY;
    if (only != DOCTOR_PAM_EVERY && !every && line->type != only)
        return;
    if (line->kind == DOCTOR_PAM_INCLUDE) {
        if (line->type != DOCTOR_PAM_OTHER)
            read_file(service, line->path, every ? only : line->type, depth + 1);
    } else if (line->kind == DOCTOR_PAM_MODULE && line->type != DOCTOR_PAM_OTHER) {
        service->has[line->type] = true;
        service->cannot_refuse[line->type] |=
            line->decides && calls_refusals_errors(line->path);
        add_module(service, line);
    }
}

/* Services are looked for in lower case. */
static FILE *open_in(const char *directory, const char *name, char path[static FILE_PATH_SIZE])
{
    if (snprintf(path, FILE_PATH_SIZE, "%s/%s", directory, name) >= FILE_PATH_SIZE)
        return NULL;
    for (char *at = path + strlen(directory); *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return fopen(path, "re");
}

static FILE *open_service(const struct service *service, const char *name,
                          char path[static FILE_PATH_SIZE])
{
    if (name[0] == '/') {
        snprintf(path, FILE_PATH_SIZE, "%s", name);
        return fopen(path, "re");
    }
    if (service->directory)
        return open_in(service->directory, name, path);
    char vendor[FILE_PATH_SIZE];
    FILE *file = open_in("/etc/pam.d", name, path);
    return file || errno != ENOENT ? file : open_in("/usr/lib/pam.d", name, vendor);
}

/* One line with those that it goes on in; false at the end of the file. */
static bool read_line(FILE *file, char **line, size_t *length)
{
    char *part = NULL;
    size_t size = 0;
    ssize_t got;
    bool more = true;
    *length = 0;
    *line = NULL;
    while (more && (got = getline(&part, &size, file)) > 0) {
        size_t end = (size_t)got;
        end -= part[end - 1] == '\n';
        more = end > 0 && part[end - 1] == '\\';
        char *grown = realloc(*line, *length + end + 1);
        if (!grown)
            break;
        *line = grown;
        memcpy(grown + *length, part, end);
        *length += end;
        if (more)
            grown[*length - 1] = ' ';
    }
    free(part);
    return *line != NULL;
}

static void read_file(struct service *service, const char *name, enum doctor_pam_type only,
                      unsigned depth)
{
    char path[FILE_PATH_SIZE];
    struct doctor_pam_line line;
    char *text;
    size_t length;
    FILE *file = depth < DEPTH_LIMIT ? open_service(service, name, path) : NULL;
    if (!file && service->fault[0] == '\0')
        snprintf(service->fault, sizeof service->fault, "%s: %s", depth == 0 ? path : name,
                 depth < DEPTH_LIMIT ? strerrordesc_np(errno) : "it includes itself");
    if (!file)
        return;
    for (unsigned number = 1; read_line(file, &text, &length); number++) {
        doctor_pam_line_parse(text, length, &line);
        if (line.kind == DOCTOR_PAM_BROKEN && service->fault[0] == '\0')
            snprintf(service->fault, sizeof service->fault, "%s: entry %u is not understood",
                     path, number);
        else
            take_line(service, &line, only, depth);
        free(text);
    }
    fclose(file);
}

static struct service *read_service(const struct doctor *doctor)
{
    const struct config_auth *auth = &doctor->config->auth;
    struct service *service = calloc(1, sizeof *service);
    if (!service)
        return NULL;
    service->directory = *auth->pam_confdir ? auth->pam_confdir : NULL;
    read_file(service, auth->pam_service, DOCTOR_PAM_EVERY, 0);
    return service;
}

void doctor_check_pam_service(struct doctor *doctor)
{
    const char *name = doctor->config->auth.pam_service;
    struct service *service = read_service(doctor);
    if (!service)
        return;
    if (service->fault[0]) {
        doctor_fault(doctor, "%s: %s", name, service->fault);
        doctor_advise(doctor,
                      "make the service (a sample comes with Postern) or mend it: until "
                      "then nobody can log in");
    } else if (!service->has[DOCTOR_PAM_AUTH] || !service->has[DOCTOR_PAM_ACCOUNT]) {
        doctor_fault(doctor, "%s: it has no line of the type %s", name,
                     service->has[DOCTOR_PAM_AUTH] ? "account" : "auth");
        doctor_advise(doctor,
                      "add one (@include common-%s): PAM asks the service \"other\" "
                      "instead, which refuses everybody",
                      service->has[DOCTOR_PAM_AUTH] ? "account" : "auth");
    } else {
        doctor_good(doctor, "%s: it names %zu modules", name, service->count);
    }
    free(service);
}

void doctor_check_pam_refusals(struct doctor *doctor)
{
    const char *name = doctor->config->auth.pam_service;
    struct service *service = read_service(doctor);
    if (!service)
        return;
    if (service->cannot_refuse[DOCTOR_PAM_AUTH] || service->cannot_refuse[DOCTOR_PAM_ACCOUNT]) {
        bool of_auth = service->cannot_refuse[DOCTOR_PAM_AUTH];
        doctor_fault(
            doctor,
            "%s: pam_exec.so decides in its %s lines, and calls every refusal a system "
            "error: clients get 454, try again later, as in an outage%s",
            name, of_auth ? "auth" : "account",
            of_auth ? "" : ", and learn that the password was right");
        doctor_advise(doctor,
                      "let another module say no: \"%s [success=done default=ignore] "
                      "pam_exec.so ...\" and \"%s required pam_deny.so\" after it",
                      of_auth ? "auth" : "account", of_auth ? "auth" : "account");
    } else if (service->fault[0] == '\0') {
        doctor_good(doctor, "%s: no module in it is known to report refusals as errors", name);
    }
    free(service);
}

/* Where libpam looks for modules that are named without a directory: beside itself. */
static void module_directory(char out[static FILE_PATH_SIZE])
{
    Dl_info info = {0};
    int (*start)(const char *, const char *, const struct pam_conv *, pam_handle_t **) =
        pam_start;
    void *symbol = NULL;
    memcpy(&symbol, &start, sizeof symbol);
    const char *slash =
        dladdr(symbol, &info) && info.dli_fname ? strrchr(info.dli_fname, '/') : NULL;
    if (slash)
        snprintf(out, FILE_PATH_SIZE, "%.*s/security", (int)(slash - info.dli_fname),
                 info.dli_fname);
    else
        snprintf(out, FILE_PATH_SIZE, "/lib/security");
}

/* Returns whether it could be loaded; what was wrong is told. */
static bool load(struct doctor *doctor, const char *directory, const struct module *module)
{
    char path[FILE_PATH_SIZE * 2];
    if (module->path[0] == '/')
        snprintf(path, sizeof path, "%s", module->path);
    else
        snprintf(path, sizeof path, "%s/%s", directory, module->path);
    void *handle = dlopen(path, RTLD_NOW);
    if (handle) {
        dlclose(handle);
        return true;
    }
    const char *why = dlerror();
    if (module->silent && access(path, F_OK) != 0)
        return true;
    doctor_fault(doctor, "%s: cannot be loaded: %s", module->path, why ? why : "no reason");
    doctor_advise(doctor, "install the package that it comes from, or take its line out of the "
                          "service");
    return false;
}

void doctor_check_pam_modules(struct doctor *doctor)
{
    char directory[FILE_PATH_SIZE];
    struct service *service = read_service(doctor);
    bool good = service && service->count > 0;
    module_directory(directory);
    for (size_t i = 0; service && i < service->count; i++)
        good &= load(doctor, directory, &service->modules[i]);
    if (good)
        doctor_good(doctor, "%s: all of its %zu modules can be loaded",
                    doctor->config->auth.pam_service, service->count);
    free(service);
}
