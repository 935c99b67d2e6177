/*
 * The next program before it runs: which file it is, and what it says when it is asked whether
 * it could take over. It is asked as `postern -n` with the estate of an upgrade: it binds on
 * trial what it would have to bind, and its messages become the master's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/upgrade_internal.h"

#define CHECK_MS  10000
#define LOOK_MS   100 /* how often a SIGTERM is looked for */
#define ARGUMENTS 64
#define SAID_SIZE 16384 /* what comes after that is left out */

static char path[PATH_MAX];
static char *arguments[ARGUMENTS + 2]; /* room for "-n" */
static size_t argument_count;

struct answer {
    char said[SAID_SIZE + 1];
    size_t length;
};

void upgrade_remember(int argc, char **argv)
{
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    for (int i = 0; i < argc && i < ARGUMENTS; i++)
        arguments[argument_count++] = strdup(argv[i]);
}

const char *upgrade_path(void)
{
    return path;
}

void upgrade_execute(void)
{
    arguments[argument_count] = NULL;
    execv(path, arguments);
}

/* Signals as they are for a program that somebody starts by hand. */
static _Noreturn void execute_check(const struct upgrade_estate *estate, int output)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (upgrade_leave(estate) && dup2(output, STDOUT_FILENO) >= 0 &&
        dup2(output, STDERR_FILENO) >= 0) {
        arguments[argument_count] = (char *)(uintptr_t) "-n";
        execv(path, arguments);
    }
    dprintf(output, "postern: error: %s: %s\n", path, strerrordesc_np(errno));
    _exit(EXIT_FAILURE);
}

static void read_answer(struct answer *answer, int fd)
{
    char rest[1024];
    ssize_t got;
    do {
        size_t room = SAID_SIZE - answer->length;
        got = room > 0 ? read(fd, answer->said + answer->length, room)
                       : read(fd, rest, sizeof rest);
        if (got > 0 && room > 0)
            answer->length += (size_t)got;
    } while (got > 0);
}

static bool is_to_stop(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

/* Until the process ends; false: not in time, or the master is to stop. */
static bool await_end(struct answer *answer, int process, int output)
{
    struct pollfd wait[] = {{.fd = process, .events = POLLIN},
                            {.fd = output, .events = POLLIN}};
    uint64_t until_ms = clock_now_ms() + CHECK_MS;
    while (process >= 0 && clock_now_ms() < until_ms && !is_to_stop()) {
        if (poll(wait, 2, LOOK_MS) < 0 && errno != EINTR)
            return false;
        read_answer(answer, output);
        if (wait[1].revents & POLLHUP)
            wait[1].fd = -1;
        if (wait[0].revents)
            return true;
    }
    return false;
}

/* The child's status; -1: it has not ended in time, and has been killed. */
static int await(struct answer *answer, pid_t pid, int output)
{
    int status = -1, process = pidfd_open(pid, 0);
    bool ended = await_end(answer, process, output);
    if (!ended)
        kill(pid, SIGKILL); /* its end is noticed as any child's is */
    else if (waitpid(pid, &status, 0) != pid)
        status = -1;
    read_answer(answer, output);
    if (process >= 0)
        close(process);
    return status;
}

/* Lines that are no messages are of interest if it failed: a library that is missing, perhaps.
 * Returns whether it says that it can adopt a generation. */
static bool log_answer(struct answer *answer, bool failed)
{
    const struct {
        const char *start;
        void (*log)(const char *format, ...);
    } kinds[] = {{"postern: error: ", log_error},
                 {"postern: warning: ", log_warning},
                 {"", failed ? log_error : log_debug}};
    char *place = NULL;
    bool adopts = false;
    answer->said[answer->length] = '\0';
    for (char *line = strtok_r(answer->said, "\n", &place); line;
         line = strtok_r(NULL, "\n", &place)) {
        size_t kind = 0;
        if (strcmp(line, UPGRADE_ANSWER) == 0) {
            adopts = true;
            continue;
        }
        while (kind < sizeof kinds / sizeof kinds[0] - 1 &&
               strncmp(line, kinds[kind].start, strlen(kinds[kind].start)) != 0)
            kind++;
        kinds[kind].log("upgrade: %s", line + strlen(kinds[kind].start));
    }
    return adopts;
}

static int ask(const struct upgrade_estate *estate, struct answer *answer)
{
    int output[2], status = -1;
    if (pipe2(output, O_CLOEXEC) < 0)
        return -1;
    (void)fcntl(output[0], F_SETFL, O_NONBLOCK);
    pid_t pid = fork();
    if (pid == 0)
        execute_check(estate, output[1]);
    close(output[1]);
    if (pid > 0)
        status = await(answer, pid, output[0]);
    close(output[0]);
    return status;
}

enum upgrade_verdict upgrade_check(const struct upgrade_estate *estate)
{
    struct answer answer = {.length = 0};
    if (!path[0] || argument_count == 0) {
        log_error("upgrade: where this program was started from is not known");
        return UPGRADE_REFUSED;
    }
    int status = ask(estate, &answer);
    bool adopts = log_answer(&answer, status != 0);
    if (status == 0)
        return adopts ? UPGRADE_ADOPTS : UPGRADE_DRAINS;
    if (is_to_stop())
        log_notice("upgrade given up: the master is stopping");
    else
        log_error("upgrade refused: %s cannot take over; what runs stays as it was", path);
    return UPGRADE_REFUSED;
}
