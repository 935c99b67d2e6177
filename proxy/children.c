/*
 * Processes of the master. Auth workers and openers are the same binary executed anew, so that
 * nothing of the master's memory (keys, above all) and none of its descriptors are in them
 * (threat 21); what they must know stands in their arguments, and none of that is secret.
 */
#include "proxy/children.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/worker.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/opener_settings.h"
#include "proxy/statistics_memory.h"

#define QUICK_DEATH_MS   1000
#define FIRST_RESTART_MS 100
#define LAST_RESTART_MS  10000

enum worker_argument {
    WORKER_TITLE,
    WORKER_FLAG,
    WORKER_SERVICE,
    WORKER_DIRECTORY,
    WORKER_USER,
    WORKER_LOG_DESTINATION,
    WORKER_LOG_FORMAT,
    WORKER_LOG_LEVEL,
    WORKER_ARGUMENTS,
};

void child_gone(struct child *child, uint64_t now_ms)
{
    bool quick = now_ms - child->started_ms < QUICK_DEATH_MS;
    uint64_t wait_ms = 0;

    child->quick_deaths = quick ? child->quick_deaths + 1 : 0;
    if (child->quick_deaths > 1) {
        wait_ms = FIRST_RESTART_MS;
        for (unsigned i = 2; i < child->quick_deaths && wait_ms < LAST_RESTART_MS; i++)
            wait_ms *= 2;
    }
    child->pid = 0;
    child->restart_ms = now_ms + (wait_ms < LAST_RESTART_MS ? wait_ms : LAST_RESTART_MS);
}

void child_status_text(int status, char out[static CHILD_STATUS_SIZE])
{
    if (WIFSIGNALED(status))
        snprintf(out, CHILD_STATUS_SIZE, "signal %d (%s)", WTERMSIG(status),
                 sigdescr_np(WTERMSIG(status)));
    else
        snprintf(out, CHILD_STATUS_SIZE, "exit status %d", WEXITSTATUS(status));
}

static void note_start(struct child *child, pid_t pid)
{
    child->pid = pid;
    child->started_ms = clock_now_ms();
    child->restart_ms = UINT64_MAX;
}

void child_not_started(struct child *child, uint64_t now_ms)
{
    child->started_ms = now_ms;
    child_gone(child, now_ms);
}

static bool fork_failed(struct child *child, const char *what)
{
    log_error("no %s can be started: %s", what, strerrordesc_np(errno));
    child_not_started(child, clock_now_ms());
    return false;
}

bool child_start_reactor(struct child *child, const struct reactor_settings *settings)
{
    pid_t pid = fork();
    if (pid < 0)
        return fork_failed(child, "reactor");
    if (pid == 0)
        reactor_run(settings);
    note_start(child, pid);
    return true;
}

/* The process's standard input becomes its socket. */
static _Noreturn void execute(const char *const *arguments, int socket)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(socket, STDIN_FILENO) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0) {
        statistics_pass_to_helper();
        execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
    }
    log_error("%s cannot be started: %s", arguments[0], strerrordesc_np(errno));
    _exit(EXIT_FAILURE);
}

static _Noreturn void execute_worker(const struct config *config, int socket)
{
    char destination[4], format[4], level[4];
    const struct log_options *options = log_options();
    snprintf(destination, sizeof destination, "%d", (int)options->destination);
    snprintf(format, sizeof format, "%d", (int)options->format);
    snprintf(level, sizeof level, "%d", (int)options->level);

    const char *arguments[WORKER_ARGUMENTS + 1] = {
        [WORKER_TITLE] = "postern: auth worker",
        [WORKER_FLAG] = "--auth-worker",
        [WORKER_SERVICE] = config->auth.pam_service,
        [WORKER_DIRECTORY] = config->auth.pam_confdir,
        [WORKER_USER] = config->auth.user,
        [WORKER_LOG_DESTINATION] = destination,
        [WORKER_LOG_FORMAT] = format,
        [WORKER_LOG_LEVEL] = level,
    };
    execute(arguments, socket);
}

static _Noreturn void execute_opener(const struct config *config, int socket)
{
    char **arguments = opener_arguments(config);
    if (arguments)
        execute((const char *const *)(uintptr_t)arguments, socket);
    log_error("no opener can be started: out of memory");
    _exit(EXIT_FAILURE);
}

/* Starts one of those that are executed anew; *socket is the other end of theirs. */
static bool start_executed(struct child *child, const struct config *config, const char *what,
                           void (*run)(const struct config *config, int socket), int *socket)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return fork_failed(child, what);
    pid_t pid = fork();
    if (pid == 0) {
        log_become_child();
        run(config, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return fork_failed(child, what);
    }
    note_start(child, pid);
    *socket = pair[0];
    return true;
}

bool child_start_worker(struct child *child, const struct config *config, int *socket)
{
    return start_executed(child, config, "auth worker", execute_worker, socket);
}

bool child_start_opener(struct child *child, const struct config *config, int *socket)
{
    return start_executed(child, config, "opener", execute_opener, socket);
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

int child_worker_main(int argc, char **argv)
{
    if (argc != WORKER_ARGUMENTS) {
        log_error("--auth-worker is for the master's own use");
        return EXIT_FAILURE;
    }
    struct log_options log = {
        .destination = (enum log_destination)atoi(argv[WORKER_LOG_DESTINATION]),
        .format = (enum log_format)atoi(argv[WORKER_LOG_FORMAT]),
        .level = (enum log_level)atoi(argv[WORKER_LOG_LEVEL]),
    };
    struct auth_worker_options options = {
        .service = argv[WORKER_SERVICE],
        .configuration_directory = or_null(argv[WORKER_DIRECTORY]),
        .user = or_null(argv[WORKER_USER]),
    };
    statistics_use_as_helper();
    log_configure(&log);
    log_set_process("auth worker");
    return auth_worker_run(STDIN_FILENO, &options);
}
