/*
 * The state of the worker's process that PAM modules can change. Called by worker.c only,
 * before and after each login. Owns the process's signal handlers; never looks at a login.
 */
#include "auth/health.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A new descriptor is always the lowest that is free, so leaked ones fill every gap. */
static unsigned long count_descriptors(void)
{
    int lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (lowest < 0)
        return errno == EMFILE ? ULONG_MAX : 0;
    close(lowest);
    return (unsigned long)lowest;
}

/* Each thread is a directory there. */
static unsigned long count_threads(void)
{
    struct stat status;
    return stat("/proc/self/task", &status) == 0 ? (unsigned long)status.st_nlink : 0;
}

static unsigned long measure_memory_mib(void)
{
    char text[128];
    unsigned long size, resident;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (length <= 0)
        return 0;
    text[length] = '\0';
    if (sscanf(text, "%lu %lu", &size, &resident) != 2)
        return 0;
    return resident * ((unsigned long)sysconf(_SC_PAGESIZE) >> 10) >> 10;
}

void health_measure(struct health *out)
{
    memset(out, 0, sizeof *out);
    out->descriptors = count_descriptors();
    out->threads = count_threads();
    out->memory_mib = measure_memory_mib();
    (void)getresuid(&out->uids[0], &out->uids[1], &out->uids[2]);
    (void)getresgid(&out->gids[0], &out->gids[1], &out->gids[2]);
}

bool health_is_good(const struct health *before, const struct health *now,
                    char cause[static HEALTH_CAUSE_SIZE])
{
    const struct {
        const char *what;
        unsigned long before, now, limit;
    } grown[] = {
        {"descriptors", before->descriptors, now->descriptors, HEALTH_DESCRIPTOR_LIMIT},
        {"threads", before->threads, now->threads, HEALTH_THREAD_LIMIT},
        {"MiB of memory", before->memory_mib, now->memory_mib, HEALTH_MEMORY_LIMIT_MIB},
    };
    if (now->descriptors == ULONG_MAX) {
        snprintf(cause, HEALTH_CAUSE_SIZE, "it has no descriptor left");
        return false;
    }
    for (size_t i = 0; i < sizeof grown / sizeof grown[0]; i++) {
        if (grown[i].before == 0 || grown[i].now <= grown[i].before + grown[i].limit)
            continue;
        snprintf(cause, HEALTH_CAUSE_SIZE, "it has %lu %s more than at its start",
                 grown[i].now - grown[i].before, grown[i].what);
        return false;
    }
    if (memcmp(before->uids, now->uids, sizeof now->uids) == 0 &&
        memcmp(before->gids, now->gids, sizeof now->gids) == 0)
        return true;
    snprintf(cause, HEALTH_CAUSE_SIZE, "it has become another user");
    return false;
}

static void do_nothing(int number)
{
    (void)number;
}

void health_forget_ignored_signals(void)
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            (void)signal(number, SIG_DFL);
    }
}

/*
 * A terminal's Ctrl-C and hang-up are for the master, and the reactor still drains. Modules
 * start helpers and wait for them, which needs the default for SIGCHLD.
 */
static bool set_signals(void)
{
    static const struct {
        int number;
        void (*action)(int);
    } signals[] = {
        {SIGPIPE, do_nothing}, {SIGINT, do_nothing},  {SIGHUP, do_nothing},
        {SIGQUIT, SIG_DFL},    {SIGUSR1, do_nothing}, {SIGUSR2, do_nothing},
        {SIGTERM, SIG_DFL},    {SIGCHLD, SIG_DFL},    {SIGALRM, SIG_DFL},
    };
    sigset_t none;

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (signal(signals[i].number, signals[i].action) == SIG_ERR)
            return false;
    return sigemptyset(&none) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

bool health_restore(void)
{
    static mode_t file_mask;
    static bool is_known;
    mode_t present = umask(is_known ? file_mask : 077);
    if (!is_known) {
        file_mask = present;
        is_known = true;
        umask(file_mask);
    }
    const char *locale = setlocale(LC_ALL, NULL);
    if (!locale || strcmp(locale, "C") != 0)
        (void)setlocale(LC_ALL, "C");
    return set_signals();
}
