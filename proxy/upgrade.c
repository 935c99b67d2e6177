/*
 * From one program to the next, in one variable of the environment: descriptors with what they
 * are for, and process numbers. Only the master reads it, and only what it can check: a socket
 * that listens, a table of the right shape, a child of its own.
 */
#include "proxy/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/log.h"

#define VARIABLE  "POSTERN_UPGRADE"
#define TEXT_SIZE (128 * 1024)
#define CHECK_MS  10000
#define ARGUMENTS 64

static char path[PATH_MAX];
static char *arguments[ARGUMENTS + 2]; /* room for "-n" */
static size_t argument_count;

void upgrade_remember(int argc, char **argv)
{
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    for (int i = 0; i < argc && i < ARGUMENTS; i++)
        arguments[argument_count++] = strdup(argv[i]);
}

/* Signals as they are for a program that somebody starts by hand. */
static _Noreturn void execute_check(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere >= 0)
        (void)dup2(nowhere, STDOUT_FILENO);
    arguments[argument_count] = (char *)(uintptr_t) "-n";
    execv(path, arguments);
    log_error("%s: %s", path, strerrordesc_np(errno));
    _exit(EXIT_FAILURE);
}

/* The child's status; -1: it has not ended in time, and is no more. */
static int await(pid_t pid)
{
    struct pollfd wait = {.fd = pidfd_open(pid, 0), .events = POLLIN};
    int status = -1;
    bool ended = wait.fd >= 0 && poll(&wait, 1, CHECK_MS) == 1;
    if (!ended)
        kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid || !ended)
        status = -1;
    if (wait.fd >= 0)
        close(wait.fd);
    return status;
}

bool upgrade_check(void)
{
    if (!path[0] || argument_count == 0) {
        log_error("upgrade: where this program was started from is not known");
        return false;
    }
    pid_t pid = fork();
    if (pid == 0)
        execute_check();
    int status = pid > 0 ? await(pid) : -1;
    if (status == 0)
        return true;
    log_error("upgrade refused: %s does not take the configuration; what runs stays as it was",
              path);
    return false;
}

static void keep_open(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

static void close_later(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

static void write_former(const struct upgrade_estate *estate, FILE *out)
{
    for (size_t i = 0; i < estate->former_count; i++) {
        const struct former *each = &estate->former[i];
        fprintf(out, "process %d", (int)each->pid);
        if (each->control >= 0)
            fprintf(out, " %d %u", each->control, CONTROL_VERSION);
        fputc('\n', out);
        keep_open(each->control);
    }
}

static void write_controls(const struct upgrade_estate *estate, FILE *out)
{
    for (int i = 0; i < ADMIN_KINDS; i++) {
        char words[ADMIN_SOCKET_WORDS_SIZE];
        if (!admin_sockets_describe(estate->controls, (enum admin_kind)i, words))
            continue;
        keep_open(admin_sockets_descriptor(estate->controls, (enum admin_kind)i));
        fprintf(out, "control %s\n", words);
    }
    if (estate->refusing)
        fputs("refusing\n", out);
}

/* "log 5 6\ntally 7\npermits 9\nlisten 8 [::]:465\nprocess 81 10 1\n" */
static bool write_estate(const struct upgrade_estate *estate, FILE *out)
{
    fprintf(out, "log %d %d\ntally %d\npermits %d\n", estate->log[0], estate->log[1],
            tally_descriptor(estate->tally), permits_descriptor(estate->permits));
    keep_open(estate->log[0]);
    keep_open(estate->log[1]);
    keep_open(tally_descriptor(estate->tally));
    keep_open(permits_descriptor(estate->permits));
    for (size_t i = 0; i < listeners_count(estate->listeners); i++) {
        char text[ADDRESS_TEXT_SIZE];
        int fd = listeners_socket(estate->listeners, i, text);
        keep_open(fd);
        fprintf(out, "listen %d %s\n", fd, text);
    }
    write_controls(estate, out);
    if (estate->statistics >= 0) {
        keep_open(estate->statistics);
        fprintf(out, "statistics %d\n", estate->statistics);
    }
    write_former(estate, out);
    return !ferror(out);
}

static void take_back(const struct upgrade_estate *estate)
{
    char text[ADDRESS_TEXT_SIZE];
    close_later(estate->log[0]);
    close_later(estate->log[1]);
    close_later(tally_descriptor(estate->tally));
    close_later(permits_descriptor(estate->permits));
    close_later(estate->statistics);
    for (size_t i = 0; i < listeners_count(estate->listeners); i++)
        close_later(listeners_socket(estate->listeners, i, text));
    for (int i = 0; i < ADMIN_KINDS; i++)
        close_later(admin_sockets_descriptor(estate->controls, (enum admin_kind)i));
    for (size_t i = 0; i < estate->former_count; i++)
        close_later(estate->former[i].control);
}

void upgrade_become(const struct upgrade_estate *estate)
{
    char *text = calloc(1, TEXT_SIZE);
    FILE *out = text ? fmemopen(text, TEXT_SIZE - 1, "w") : NULL;
    bool written = out && write_estate(estate, out);
    if (out)
        written = fclose(out) == 0 && written;
    if (written && setenv(VARIABLE, text, 1) == 0) {
        arguments[argument_count] = NULL;
        log_notice("upgrade: %s takes over", path);
        execv(path, arguments);
    }
    log_error("upgrade: %s cannot be executed: %s", path, strerrordesc_np(errno));
    unsetenv(VARIABLE);
    take_back(estate);
    free(text);
}

static bool take_log(struct upgrade_estate *estate, const char *line)
{
    int log[2];
    if (sscanf(line, "log %d %d", &log[0], &log[1]) != 2)
        return false;
    close_later(log[0]);
    close_later(log[1]);
    memcpy(estate->log, log, sizeof log);
    return true;
}

static bool take_tally(struct upgrade_estate *estate, const char *line)
{
    int fd;
    if (sscanf(line, "tally %d", &fd) != 1)
        return false;
    close_later(fd);
    estate->tally = tally_adopt(fd);
    return estate->tally != NULL;
}

static bool take_permits(struct upgrade_estate *estate, const char *line)
{
    int fd;
    if (sscanf(line, "permits %d", &fd) != 1)
        return false;
    close_later(fd);
    estate->permits = permits_adopt(fd);
    return estate->permits != NULL;
}

static bool take_listener(struct upgrade_estate *estate, const char *line)
{
    int fd, at = 0;
    struct address address;
    const char *why;
    if (sscanf(line, "listen %d %n", &fd, &at) != 1 || at == 0 ||
        !address_parse(line + at, &address, &why))
        return false;
    close_later(fd);
    return listeners_inherit(estate->listeners, fd, &address);
}

static bool take_control(struct upgrade_estate *estate, const char *line)
{
    return admin_sockets_inherit(estate->controls, line + strlen("control "));
}

static bool take_statistics(struct upgrade_estate *estate, const char *line)
{
    return sscanf(line, "statistics %d", &estate->statistics) == 1;
}

static bool take_refusal(struct upgrade_estate *estate, const char *line)
{
    (void)line;
    estate->refusing = true;
    return true;
}

static bool take_process(struct upgrade_estate *estate, const char *line)
{
    if (estate->former_count == UPGRADE_PROCESSES ||
        !former_take(&estate->former[estate->former_count], line + strlen("process ")))
        return false;
    estate->former_count++;
    return true;
}

static bool take_line(struct upgrade_estate *estate, const char *line)
{
    static const struct {
        const char *word;
        bool (*take)(struct upgrade_estate *estate, const char *line);
    } kinds[] = {{"log ", take_log},
                 {"tally ", take_tally},
                 {"permits ", take_permits},
                 {"listen ", take_listener},
                 {"control ", take_control},
                 {"refusing", take_refusal},
                 {"statistics ", take_statistics},
                 {"process ", take_process}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(line, kinds[i].word, strlen(kinds[i].word)) == 0)
            return kinds[i].take(estate, line);
    return true; /* a later program's */
}

bool upgrade_take_over(struct upgrade_estate *estate)
{
    const char *left = getenv(VARIABLE);
    char *text = left ? strdup(left) : NULL, *place = NULL;
    bool good = text;
    unsetenv(VARIABLE);
    for (char *line = text ? strtok_r(text, "\n", &place) : NULL; line;
         line = strtok_r(NULL, "\n", &place))
        if (!take_line(estate, line)) {
            log_warning("upgrade: \"%s\" could not be taken over", line);
            good = false;
        }
    free(text);
    return good;
}
