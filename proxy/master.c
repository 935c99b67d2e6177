/*
 * The master's loop: signals through a signalfd, messages of the reactors, records of theirs
 * for syslog. poll() is enough: its descriptors are few, and there is no library between it and
 * the kernel. What becomes of generations is in master_reload.c.
 *
 *   SIGHUP   a reload: the file is read and checked, a new generation starts beside the serving
 *            one, and when it is ready the old one drains; if anything is wrong, nothing has
 *            happened
 *   SIGUSR1  the log file is opened again
 *   SIGUSR2  an upgrade: the same with the program that stands in the place of this one now
 *   SIGTERM  the listeners close, transactions finish, all end; a second one ends them now
 */
#include "proxy/master.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/administration.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/log_file.h"
#include "proxy/base/log_output.h"
#include "proxy/host.h"
#include "proxy/master_internal.h"
#include "proxy/privileges.h"
#include "proxy/process_title.h"
#include "proxy/supervisor.h"
#include "proxy/watchdog.h"

/* For poll(): what every generation may have, at the most that "workers" may be, and two. */
#define DESCRIPTORS    ((GENERATIONS + 2) * 256 + 2)
#define LOG_PASS_LIMIT 64 /* records in one turn */
#define LAST_WAIT_MS   2000

void master_each_generation(struct master *master, void (*act)(struct generation *generation))
{
    if (master->serving)
        act(master->serving);
    if (master->starting)
        act(master->starting);
    for (size_t i = 0; i < master->ending_count; i++)
        act(master->ending[i]);
}

static bool claim_child(struct generation *generation, pid_t pid, int status)
{
    return generation && generation_child_ended(generation, pid, status);
}

static void reap(struct master *master)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bool claimed = claim_child(master->serving, pid, status) ||
                       claim_child(master->starting, pid, status);
        for (size_t i = 0; i < master->ending_count && !claimed; i++)
            claimed = claim_child(master->ending[i], pid, status);
        if (!claimed && !departing_ended(master->environment.departing, pid))
            master_forget_former(master, pid);
    }
}

static void reopen_log(const struct master *master)
{
    char where[CONFIG_WHERE_SIZE] = "log: file";
    if (master->serving)
        config_where(generation_config(master->serving), "log", NULL, "file", where);
    (void)!log_file_reopen(where);
}

static void take_signals(struct master *master)
{
    struct signalfd_siginfo each;
    while (read(master->signals, &each, sizeof each) == (ssize_t)sizeof each) {
        switch (each.ssi_signo) {
        case SIGCHLD:
            reap(master);
            break;
        case SIGHUP:
            if (!master->stopping)
                master_reload(master);
            break;
        case SIGUSR1:
            reopen_log(master);
            break;
        case SIGUSR2:
            if (master_upgrade(master))
                master_reload(master);
            break;
        default:
            master_stop(master);
            break;
        }
    }
}

static void pass_log_on(const struct master *master)
{
    char record[LOG_LINE_LIMIT + 1];
    for (int i = 0; i < LOG_PASS_LIMIT; i++) {
        ssize_t got = recv(master->log, record, sizeof record, MSG_DONTWAIT);
        if (got <= 0)
            return;
        if (log_options()->destination == LOG_TO_SYSLOG)
            log_pass_on(record, (size_t)got);
        else
            log_pass_lines_on(record, (size_t)got);
    }
}

static size_t list_sockets(const struct generation *generation, struct pollfd *list,
                           size_t count)
{
    int fds[DESCRIPTORS];
    size_t found = generation ? generation_sockets(generation, fds, DESCRIPTORS - count) : 0;
    for (size_t i = 0; i < found; i++)
        list[count++] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    return count;
}

static uint64_t stop_ms(const struct master *master)
{
    return master->kill_ms < master->give_up_ms ? master->kill_ms : master->give_up_ms;
}

static int wait_ms(struct master *master)
{
    uint64_t now_ms = clock_now_ms(), next_ms = master->stopping ? stop_ms(master) : UINT64_MAX;
    struct generation *tended[] = {master->serving, master->starting};
    for (size_t i = 0; i < sizeof tended / sizeof *tended + master->ending_count; i++) {
        struct generation *each = i < 2 ? tended[i] : master->ending[i - 2];
        uint64_t due_ms = each && !master->stopping ? generation_tend(each) : UINT64_MAX;
        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    next_ms = master->retry_ms < next_ms && !master->stopping ? master->retry_ms : next_ms;
    uint64_t departing_ms = departing_tend(master->environment.departing, now_ms);
    uint64_t watchdog_ms = watchdog_tend(master->serving, now_ms);
    uint64_t host_ms =
        host_tend(master->serving ? generation_config(master->serving) : NULL, now_ms);
    next_ms = departing_ms < next_ms ? departing_ms : next_ms;
    next_ms = watchdog_ms < next_ms ? watchdog_ms : next_ms;
    next_ms = host_ms < next_ms ? host_ms : next_ms;
    if (next_ms == UINT64_MAX)
        return -1;
    return next_ms <= now_ms ? 0
                             : (int)(next_ms - now_ms < 60000 ? next_ms - now_ms + 1 : 60000);
}

static void dispatch(struct master *master, const struct pollfd *list, size_t count)
{
    if (list[0].revents)
        take_signals(master);
    if (list[1].revents)
        pass_log_on(master);
    for (size_t i = 2; i < count; i++) {
        if (!list[i].revents)
            continue;
        if (master->serving)
            generation_socket_readable(master->serving, list[i].fd);
        if (master->starting)
            generation_socket_readable(master->starting, list[i].fd);
        for (size_t j = 0; j < master->ending_count; j++)
            generation_socket_readable(master->ending[j], list[i].fd);
    }
}

static void turn(struct master *master)
{
    int wait =
        wait_ms(master); /* first: it may start a reactor, whose socket belongs in the list */
    struct pollfd list[DESCRIPTORS];
    list[0] = (struct pollfd){.fd = master->signals, .events = POLLIN};
    list[1] = (struct pollfd){.fd = master->log, .events = POLLIN};
    size_t count = list_sockets(master->serving, list, 2);
    count = list_sockets(master->starting, list, count);
    for (size_t i = 0; i < master->ending_count; i++)
        count = list_sockets(master->ending[i], list, count);

    int ready = poll(list, count, wait);
    if (ready > 0)
        dispatch(master, list, count);
    master_review(master);
}

static bool set_up_signals(struct master *master)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    master->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return master->signals >= 0;
}

static bool set_up(struct master *master)
{
    master->listeners = listeners_new();
    master->controls = admin_sockets_new();
    if (!master->listeners || !master->controls || !master_make_environment(master) ||
        !set_up_signals(master))
        return false;
    master->administration = administration_new(&master->environment, master->controls);
    return master->administration && privileges_hide_memory();
}

/* All have been killed by now. One that cannot end (a system call that is never done, a
 * debugger) is left to the system. */
static void await_children(struct master *master)
{
    struct pollfd wait = {.fd = master->signals, .events = POLLIN};
    struct signalfd_siginfo each;
    uint64_t until_ms = clock_now_ms() + LAST_WAIT_MS;
    pid_t pid = 0;
    for (;;) {
        do
            pid = waitpid(-1, NULL, WNOHANG);
        while (pid > 0);
        uint64_t now_ms = clock_now_ms();
        if (pid < 0 || now_ms >= until_ms || poll(&wait, 1, (int)(until_ms - now_ms)) < 0)
            break;
        while (read(master->signals, &each, sizeof each) == (ssize_t)sizeof each)
            if (each.ssi_signo != SIGCHLD)
                until_ms = 0;
    }
    if (pid == 0)
        log_warning("not every process could be ended");
}

static void end(struct master *master)
{
    pass_log_on(master);
    master_each_generation(master, generation_free);
    administration_free(master->administration);
    admin_sockets_free(master->controls);
    listeners_free(master->listeners);
    await_children(master);
    close(master->signals);
    close(master->log);
    close(master->environment.log);
    tally_free(master->environment.tally);
    permits_free(master->environment.permits);
    ticket_periods_free(master->environment.ticket_periods);
    departing_free(master->environment.departing);
    free(master->path);
}

static bool has_work(const struct master *master)
{
    if (!master->stopping)
        return master->serving || master->starting || master->ending_count > 0 ||
               master->succeeds;
    return clock_now_ms() < master->give_up_ms &&
           (master->ending_count > 0 || master->former_count > 0 ||
            departing_count(master->environment.departing) > 0);
}

/* Opens the log before the rest of a first start, so that it has what that warns of. Plain
 * lines on standard error stay so until master_start() has done its part: people read them.
 * If the file cannot be opened, host_check() stops the start. */
static void begin_log(const struct config *config)
{
    if (config->log.destination == LOG_TO_STDERR && config->log.format == LOG_FORMAT_TEXT)
        return;
    bool is_file = config->log.destination == LOG_TO_FILE;
    if (!is_file || (host_may_append(config->log_file) && master_open_log(config)))
        log_configure(&config->log);
    log_show_errors(true);
}

static void warn_of_rights(void)
{
    if (geteuid() != 0)
        log_warning(
            "not started as root: no empty root, no change of user, no filter of system "
            "calls; every process has the rights of this one");
}

/* False: nothing serves, and nothing will. */
static bool begin(struct master *master, struct config *config)
{
    master->succeeds = master->upgrading = config == NULL;
    if (config) {
        snprintf(master->user, sizeof master->user, "%s", config->user);
        begin_log(config);
        warn_of_rights();
        bool started = master_start(master, config);
        log_show_errors(false);
        return started;
    }
    warn_of_rights();
    master_reload(master);
    return true;
}

int master_run(struct config *config, const char *path)
{
    static struct master master;
    master.path = strdup(path); /* the process's title takes the place of the arguments */
    master.retry_ms = UINT64_MAX;
    if (!master.path || !set_up(&master)) {
        log_error("cannot start: %s", strerrordesc_np(errno));
        config_free(config);
        return EXIT_FAILURE;
    }
    log_set_process("master");
    process_title_set("postern: master");
    bool started = begin(&master, config);
    master.status = started ? EXIT_SUCCESS : EXIT_FAILURE;
    while (has_work(&master))
        turn(&master);
    if (started)
        log_notice("ended");
    end(&master);
    log_output_give_back();
    return master.status;
}
