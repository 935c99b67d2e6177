/*
 * The processes around one reactor: its auth workers and its opener. Used by generation.c only.
 * A reactor names a worker by number, and the number is checked.
 */
#include "proxy/reactor_child.h"

#include <signal.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/control.h"
#include "proxy/opener_settings.h"
#include "proxy/privileges.h"
#include "proxy/statistics_memory.h"

/* How long a reactor may do without an opener that it has left. */
#define OPENER_PAUSE_MS 1000
/* How long helpers may take to end. An opener gives its last program 10 seconds. */
#define WORKER_END_MS 5000
#define OPENER_END_MS 12000

/* One that comes in place of another is told of before its reactor has it, and may find that
 * it has gone. */
static bool start_worker(struct reactor_child *reactor, const struct config *config,
                         unsigned slot, bool again)
{
    int socket;
    struct child *worker = &reactor->workers[slot];
    if (!child_start_worker(worker, config, &socket))
        return false;
    if (again)
        log_notice("auth worker %u of reactor %d is now %d", slot, (int)reactor->process.pid,
                   (int)worker->pid);
    struct control_message message = {.type = CONTROL_WORKER, .number = slot};
    bool told = control_send(reactor->control, &message, socket);
    close(socket);
    return told;
}

static bool start_opener(struct reactor_child *reactor, const struct config *config)
{
    int socket;
    struct control_message message = {.type = CONTROL_OPENER};
    if (!child_start_opener(&reactor->opener, config, &socket))
        return false;
    bool told = control_send(reactor->control, &message, socket);
    close(socket);
    return told;
}

void reactor_child_start_helpers(struct reactor_child *reactor, const struct config *config)
{
    for (unsigned slot = 0; slot < config->auth.workers; slot++)
        if (!start_worker(reactor, config, slot, false))
            log_error("auth worker %u could not be started", slot);
    if (opener_needed(config) && !start_opener(reactor, config))
        log_error("the opener could not be started");
}

static void end_workers(struct reactor_child *reactor, const struct config *config,
                        struct departing *departing, int number)
{
    for (unsigned i = 0; i < config->auth.workers; i++) {
        pid_t pid = reactor->workers[i].pid;
        reactor->workers[i] = (struct child){.restart_ms = UINT64_MAX};
        if (pid <= 0)
            continue;
        privileges_signal(pid, config->auth.user, number);
        departing_add_worker(departing, pid, config->auth.user, WORKER_END_MS);
    }
}

/* An opener notices the end of its reactor, and ends after its last program. */
static void end_opener(struct reactor_child *reactor, const struct config *config,
                       struct departing *departing, bool at_once)
{
    pid_t pid = reactor->opener.pid;
    reactor->opener = (struct child){.restart_ms = UINT64_MAX};
    if (pid <= 0)
        return;
    if (at_once)
        privileges_signal(pid, config->user, SIGTERM);
    departing_add_opener(departing, pid, config->user, at_once ? WORKER_END_MS : OPENER_END_MS);
}

void reactor_child_end_helpers(struct reactor_child *reactor, const struct config *config,
                               struct departing *departing, bool at_once)
{
    if (reactor->workers)
        end_workers(reactor, config, departing, at_once ? SIGKILL : SIGTERM);
    end_opener(reactor, config, departing, at_once);
}

void reactor_child_close_control(struct reactor_child *reactor)
{
    if (reactor->control >= 0)
        close(reactor->control);
    reactor->control = -1;
}

void reactor_child_leave(struct reactor_child *reactor)
{
    reactor_child_close_control(reactor);
    statistics_leave_place(reactor->statistics);
    reactor->statistics = STATISTICS_NO_PLACE;
}

/*
 * The reactor sees the end of the worker's socket, but not while a process that a PAM module
 * has started holds it open.
 */
static void tell_of_end(const struct reactor_child *reactor, unsigned slot)
{
    struct control_message message = {.type = CONTROL_WORKER_ENDED, .number = slot};
    if (reactor->control >= 0 && !control_send(reactor->control, &message, -1))
        log_debug("reactor %d was not told that auth worker %u has ended: it ends as well",
                  (int)reactor->process.pid, slot);
}

/* A worker whose reactor has closed its socket, being at its end, ends by itself. */
static void worker_ended(struct reactor_child *reactor, unsigned slot, bool ending, pid_t pid,
                         int status)
{
    struct child *worker = &reactor->workers[slot];
    bool is_former = worker->pid != pid, is_expected = is_former && worker->retired;
    char text[CHILD_STATUS_SIZE];
    child_status_text(status, text);
    bool is_lost = !is_expected && (!ending || status != 0);
    if (is_lost) {
        log_warning("auth worker %d ended: %s", (int)pid, text);
        statistics_add(&statistics->children_lost[STATISTICS_CHILD_WORKER], 1);
    }
    if (is_former) {
        worker->replaced = 0;
        return;
    }
    worker->pid = 0;
    if (is_lost)
        tell_of_end(reactor, slot);
}

/* One that has done well was left by its reactor, whose own end is about to be heard of. */
static void opener_ended(struct reactor_child *reactor, bool ending, int status)
{
    char text[CHILD_STATUS_SIZE];
    child_gone(&reactor->opener, clock_now_ms());
    if (status == 0) {
        reactor->opener.restart_ms = ending ? UINT64_MAX : clock_now_ms() + OPENER_PAUSE_MS;
        return;
    }
    child_status_text(status, text);
    statistics_add(&statistics->children_lost[STATISTICS_CHILD_OPENER], 1);
    log_error("the opener of reactor %d ended: %s; a new one is started",
              (int)reactor->process.pid, text);
}

bool reactor_child_helper_ended(struct reactor_child *reactor, const struct config *config,
                                bool ending, pid_t pid, int status)
{
    if (reactor->opener.pid == pid) {
        opener_ended(reactor, ending, status);
        return true;
    }
    for (unsigned i = 0; i < config->auth.workers; i++) {
        const struct child *worker = &reactor->workers[i];
        if (worker->pid != pid && worker->replaced != pid)
            continue;
        worker_ended(reactor, i, ending, pid, status);
        return true;
    }
    return false;
}

void reactor_child_replace_worker(struct reactor_child *reactor, const struct config *config,
                                  uint32_t slot, bool is_retired)
{
    if (slot >= config->auth.workers) {
        log_error("reactor %d speaks of auth worker %u, which does not exist",
                  (int)reactor->process.pid, slot);
        return;
    }
    struct child *worker = &reactor->workers[slot];
    if (worker->restart_ms != UINT64_MAX)
        return;
    if (worker->pid > 0)
        privileges_signal(worker->pid, config->auth.user, SIGKILL);
    worker->replaced = worker->pid;
    worker->retired = is_retired;
    if (is_retired)
        *worker = (struct child){.replaced = worker->pid, .retired = true};
    else
        child_gone(worker, clock_now_ms());
}

uint64_t reactor_child_tend(struct reactor_child *reactor, const struct config *config,
                            uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    for (unsigned i = 0; i < config->auth.workers; i++) {
        const struct child *worker = &reactor->workers[i];
        if (worker->restart_ms <= now_ms)
            (void)start_worker(reactor, config, i, true);
        if (worker->restart_ms < next_ms)
            next_ms = worker->restart_ms;
    }
    if (reactor->opener.restart_ms <= now_ms && start_opener(reactor, config))
        log_notice("the opener of reactor %d is now %d", (int)reactor->process.pid,
                   (int)reactor->opener.pid);
    return reactor->opener.restart_ms < next_ms ? reactor->opener.restart_ms : next_ms;
}
