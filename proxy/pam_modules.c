/*
 * Follows included files as libpam does, and loads the modules as libpam would, but calls
 * nothing in them. The master does not load modules: another process does it for it, in which
 * nothing of the master's memory is.
 */
#include "proxy/pam_modules.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/clock.h"

/* Files within files, as deep as libpam goes. */
#define DEPTH_LIMIT    16
#define FILE_PATH_SIZE PAM_MODULES_PATH_SIZE

/* Of the process that tries the modules. */
#define FLAG        "--pam-modules"
#define PATIENCE_MS 5000
#define SAID_SIZE   16384

static void read_file(struct pam_modules *service, const char *name, enum doctor_pam_type only,
                      unsigned depth);

static void add_module(struct pam_modules *service, const struct doctor_pam_line *line)
{
    for (size_t i = 0; i < service->count; i++)
        if (strcmp(service->list[i].path, line->path) == 0) {
            service->list[i].silent &= line->silent;
            return;
        }
    if (service->count == PAM_MODULES_LIMIT)
        return;
    struct pam_module *module = &service->list[service->count++];
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
static void take_line(struct pam_modules *service, const struct doctor_pam_line *line,
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

static FILE *open_service(const struct pam_modules *service, const char *name,
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

static void read_file(struct pam_modules *service, const char *name, enum doctor_pam_type only,
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

struct pam_modules *pam_modules_read(const char *service, const char *directory)
{
    struct pam_modules *modules = calloc(1, sizeof *modules);
    if (!modules)
        return NULL;
    modules->directory = *directory ? directory : NULL;
    read_file(modules, service, DOCTOR_PAM_EVERY, 0);
    return modules;
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

const char *pam_module_load(const struct pam_module *module)
{
    char directory[FILE_PATH_SIZE], path[FILE_PATH_SIZE * 2];
    module_directory(directory);
    if (module->path[0] == '/')
        snprintf(path, sizeof path, "%s", module->path);
    else
        snprintf(path, sizeof path, "%s/%s", directory, module->path);
    void *handle = dlopen(path, RTLD_NOW);
    if (handle) {
        dlclose(handle);
        return NULL;
    }
    const char *why = dlerror();
    if (module->silent && access(path, F_OK) != 0)
        return NULL;
    return why ? why : "no reason";
}

int pam_modules_main(int argc, char **argv)
{
    struct pam_modules *modules = argc == 4 ? pam_modules_read(argv[2], argv[3]) : NULL;
    for (size_t i = 0; modules && i < modules->count; i++) {
        const char *why = pam_module_load(&modules->list[i]);
        if (why)
            printf("%s: %s\n", modules->list[i].path, why);
    }
    free(modules);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static _Noreturn void execute(const char *service, const char *directory, int output)
{
    const char *const arguments[] = {"postern: PAM modules", FLAG, service, directory, NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(output, STDOUT_FILENO) >= 0)
        execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
    _exit(EXIT_FAILURE);
}

/* Reads until the end, the time's or the room's. */
static size_t read_all(int fd, char *out, size_t size)
{
    uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
    size_t length = 0;
    while (length < size) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        uint64_t now_ms = clock_now_ms();
        int ready = now_ms < until_ms ? poll(&wait, 1, (int)(until_ms - now_ms)) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t got = ready > 0 ? read(fd, out + length, size - length) : 0;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    return length;
}

void pam_modules_try(const char *service, const char *directory, pam_modules_fault *fault,
                     void *context)
{
    char said[SAID_SIZE], *place = NULL;
    int output[2];
    if (pipe2(output, O_CLOEXEC) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        execute(service, directory, output[1]);
    close(output[1]);
    size_t length = pid > 0 ? read_all(output[0], said, sizeof said - 1) : 0;
    close(output[0]);
    if (pid > 0) {
        (void)kill(pid, SIGKILL); /* it has ended, or is stuck in a module */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    said[length] = '\0';
    for (char *line = strtok_r(said, "\n", &place); line; line = strtok_r(NULL, "\n", &place))
        fault(context, line);
}
