/*
 * The processes of one configuration: starting them, replacing those that die, carrying out
 * what a reactor may ask for. A reactor is taken for hostile: it names slots and requests by
 * number, and the numbers are checked.
 */
#include "proxy/generation.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/children.h"
#include "proxy/contexts.h"
#include "proxy/control.h"
#include "proxy/opener.h"
#include "proxy/opener_settings.h"

/* How long a reactor may do without an opener that it has left. */
#define OPENER_PAUSE_MS 1000

struct reactor_child {
    struct child process;
    int control; /* -1: gone */
    bool ready;
    struct child *workers; /* config->auth.workers of them */
    struct child opener;   /* if a backend needs it */
};

struct generation {
    const struct generation_environment *environment;
    struct config *config;
    struct contexts *contexts;
    unsigned reactor_count;
    struct reactor_child *reactors;
    bool ending;
    bool served; /* all reactors have been ready once */
    bool failed; /* a reactor ended before that */
};

/* What reactor `index` listens on; the array is the caller's to free. */
static struct reactor_listener *list_listeners(const struct generation *generation,
                                               unsigned index, size_t *count)
{
    const struct config *config = generation->config;
    enum { SOCKETS = 256 };
    int fds[SOCKETS];
    struct reactor_listener *list = calloc(config->listen_count * SOCKETS, sizeof *list);

    *count = 0;
    for (size_t i = 0; list && i < config->listen_count; i++) {
        size_t found = listeners_of(generation->environment->listeners, &config->listens[i],
                                    index, generation->reactor_count, fds, SOCKETS);
        for (size_t j = 0; j < found; j++)
            list[(*count)++] = (struct reactor_listener){i, fds[j]};
    }
    return list;
}

static bool start_worker(struct generation *generation, struct reactor_child *reactor,
                         unsigned slot)
{
    int socket;
    if (!child_start_worker(&reactor->workers[slot], generation->config, &socket))
        return false;
    struct control_message message = {.type = CONTROL_WORKER, .number = slot};
    bool told = control_send(reactor->control, &message, socket);
    close(socket);
    return told;
}

static bool start_opener(struct generation *generation, struct reactor_child *reactor)
{
    int socket;
    struct control_message message = {.type = CONTROL_OPENER};
    if (!child_start_opener(&reactor->opener, generation->config, &socket))
        return false;
    bool told = control_send(reactor->control, &message, socket);
    close(socket);
    return told;
}

/* What a reactor needs other processes for. */
static void start_helpers(struct generation *generation, struct reactor_child *reactor)
{
    for (unsigned slot = 0; slot < generation->config->auth.workers; slot++)
        if (!start_worker(generation, reactor, slot))
            log_error("auth worker %u could not be started", slot);
    if (opener_needed(generation->config) && !start_opener(generation, reactor))
        log_error("the opener could not be started");
}

static bool start_reactor(struct generation *generation, unsigned index)
{
    struct reactor_child *reactor = &generation->reactors[index];
    size_t count;
    int pair[2];
    struct reactor_listener *listeners = list_listeners(generation, index, &count);
    if (!listeners || !control_pair(pair)) {
        free(listeners);
        return false;
    }
    struct reactor_settings settings = {
        .config = generation->config,
        .contexts = generation->contexts,
        .tally = generation->environment->tally,
        .listeners = listeners,
        .listener_count = count,
        .control = pair[1],
        .log = generation->environment->log,
        .ticket_secret = *generation->config->tls.ticket_secret
                             ? generation->contexts->ticket_secret
                             : generation->environment->ticket_secret,
    };
    bool started = child_start_reactor(&reactor->process, &settings);
    free(listeners);
    close(pair[1]);
    reactor->control = pair[0];
    reactor->ready = false;
    if (started)
        start_helpers(generation, reactor);
    return started;
}

static bool make_reactors(struct generation *generation)
{
    const struct config *config = generation->config;
    generation->reactors = calloc(config->workers, sizeof *generation->reactors);
    if (!generation->reactors)
        return false;
    for (unsigned i = 0; i < config->workers; i++) {
        struct reactor_child *reactor = &generation->reactors[generation->reactor_count++];
        reactor->control = -1;
        reactor->opener.restart_ms = UINT64_MAX;
        reactor->workers = calloc(config->auth.workers, sizeof *reactor->workers);
        if (!reactor->workers)
            return false;
    }
    for (unsigned i = 0; i < config->workers; i++)
        if (!start_reactor(generation, i))
            return false;
    return true;
}

struct generation *generation_start(const struct generation_environment *environment,
                                    struct config *config)
{
    struct generation *generation = calloc(1, sizeof *generation);
    if (!generation) {
        config_free(config);
        return NULL;
    }
    generation->environment = environment;
    generation->config = config;
    generation->contexts = contexts_new(config);
    if (generation->contexts && opener_check(config) && make_reactors(generation))
        return generation;
    generation_free(generation);
    return NULL;
}

static void end_workers(struct generation *generation, struct reactor_child *reactor,
                        int number)
{
    for (unsigned i = 0; i < generation->config->auth.workers; i++) {
        if (reactor->workers[i].pid > 0)
            kill(reactor->workers[i].pid, number);
        reactor->workers[i] = (struct child){.restart_ms = UINT64_MAX};
    }
}

static void close_control(struct reactor_child *reactor)
{
    if (reactor->control >= 0)
        close(reactor->control);
    reactor->control = -1;
}

void generation_kill(struct generation *generation)
{
    generation->ending = true;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->process.pid > 0)
            kill(reactor->process.pid, SIGKILL);
        if (reactor->workers)
            end_workers(generation, reactor, SIGKILL);
        if (reactor->opener.pid > 0)
            kill(reactor->opener.pid, SIGTERM);
    }
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    generation_kill(generation);
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        close_control(&generation->reactors[i]);
        free(generation->reactors[i].workers);
    }
    contexts_free(generation->contexts);
    free(generation->reactors);
    config_free(generation->config);
    free(generation);
}

const struct config *generation_config(const struct generation *generation)
{
    return generation->config;
}

enum generation_state generation_state(const struct generation *generation)
{
    unsigned running = 0, ready = 0;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        running += generation->reactors[i].process.pid > 0;
        ready += generation->reactors[i].ready;
    }
    if (generation->failed || (generation->ending && running == 0))
        return GENERATION_ENDED;
    if (generation->ending)
        return GENERATION_ENDING;
    return ready == generation->reactor_count ? GENERATION_SERVING : GENERATION_STARTING;
}

static void tell_all(struct generation *generation, enum control_type type)
{
    struct control_message message = {.type = type};
    generation->ending = true;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->control >= 0 && !control_send(reactor->control, &message, -1) &&
            reactor->process.pid > 0)
            kill(reactor->process.pid, SIGTERM);
    }
}

void generation_drain(struct generation *generation)
{
    tell_all(generation, CONTROL_DRAIN);
}

void generation_stop(struct generation *generation)
{
    tell_all(generation, CONTROL_STOP);
}

static void reactor_ended(struct generation *generation, struct reactor_child *reactor,
                          int status)
{
    char text[CHILD_STATUS_SIZE];
    pid_t pid = reactor->process.pid;
    child_status_text(status, text);
    child_gone(&reactor->process, clock_now_ms());
    close_control(reactor);
    end_workers(generation, reactor, SIGTERM);
    /* The opener sees it too, and ends when its last program has. */
    reactor->opener = (struct child){.restart_ms = UINT64_MAX};

    if (generation->ending)
        reactor->process.restart_ms = UINT64_MAX;
    if (generation->ending && status == 0)
        log_info("reactor %d has finished its sessions", (int)pid);
    else if (reactor->ready)
        log_error("reactor %d ended: %s; its sessions are lost%s", (int)pid, text,
                  generation->ending ? "" : ", a new one is started");
    else
        log_error("reactor %d ended before it was ready: %s", (int)pid, text);
    generation->failed |= !generation->served && !generation->ending;
}

/* A worker whose reactor has closed its socket, being at its end, ends by itself. */
static void worker_ended(const struct generation *generation, struct child *worker, pid_t pid,
                         int status)
{
    char text[CHILD_STATUS_SIZE];
    child_status_text(status, text);
    if (!generation->ending || status != 0)
        log_warning("auth worker %d ended: %s", (int)pid, text);
    if (worker->pid == pid)
        worker->pid = 0;
    else
        worker->replaced = 0;
}

/* One that has done well was left by its reactor, whose own end is about to be heard of. */
static void opener_ended(const struct generation *generation, struct reactor_child *reactor,
                         int status)
{
    char text[CHILD_STATUS_SIZE];
    child_gone(&reactor->opener, clock_now_ms());
    if (status == 0) {
        reactor->opener.restart_ms =
            generation->ending ? UINT64_MAX : clock_now_ms() + OPENER_PAUSE_MS;
        return;
    }
    child_status_text(status, text);
    log_error("the opener of reactor %d ended: %s; a new one is started",
              (int)reactor->process.pid, text);
}

bool generation_child_ended(struct generation *generation, pid_t pid, int status)
{
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->process.pid == pid) {
            reactor_ended(generation, reactor, status);
            return true;
        }
        if (reactor->opener.pid == pid) {
            opener_ended(generation, reactor, status);
            return true;
        }
        for (unsigned j = 0; j < generation->config->auth.workers; j++) {
            struct child *worker = &reactor->workers[j];
            if (worker->pid != pid && worker->replaced != pid)
                continue;
            worker_ended(generation, worker, pid, status);
            return true;
        }
    }
    return false;
}

size_t generation_sockets(const struct generation *generation, int *out, size_t size)
{
    size_t count = 0;
    for (unsigned i = 0; i < generation->reactor_count && count < size; i++)
        if (generation->reactors[i].control >= 0)
            out[count++] = generation->reactors[i].control;
    return count;
}

/* The reactor has closed the worker's socket already, so a new worker is due in any case. */
static void replace_worker(struct generation *generation, struct reactor_child *reactor,
                           uint32_t slot)
{
    if (slot >= generation->config->auth.workers) {
        log_error("reactor %d speaks of auth worker %u, which does not exist",
                  (int)reactor->process.pid, slot);
        return;
    }
    struct child *worker = &reactor->workers[slot];
    if (worker->restart_ms != UINT64_MAX)
        return;
    if (worker->pid > 0)
        kill(worker->pid, SIGKILL);
    worker->replaced = worker->pid;
    child_gone(worker, clock_now_ms());
}

static void take_message(struct generation *generation, struct reactor_child *reactor,
                         const struct control_message *message)
{
    switch (message->type) {
    case CONTROL_READY:
        reactor->ready = true;
        generation->served |= generation_state(generation) == GENERATION_SERVING;
        break;
    case CONTROL_WORKER_FAULT:
        replace_worker(generation, reactor, message->number);
        break;
    default:
        log_error("reactor %d sent a message that is not a reactor's",
                  (int)reactor->process.pid);
        break;
    }
}

static void read_control(struct generation *generation, struct reactor_child *reactor)
{
    struct control_message message;
    int descriptor;
    switch (control_receive(reactor->control, &message, &descriptor)) {
    case CONTROL_OK:
        if (descriptor >= 0)
            close(descriptor);
        take_message(generation, reactor, &message);
        break;
    case CONTROL_AGAIN:
        break;
    case CONTROL_BROKEN:
        log_error("reactor %d sent a message that cannot be read", (int)reactor->process.pid);
        break;
    case CONTROL_CLOSED:
        close_control(reactor);
        break;
    }
}

void generation_socket_readable(struct generation *generation, int fd)
{
    for (unsigned i = 0; i < generation->reactor_count; i++)
        if (generation->reactors[i].control == fd)
            read_control(generation, &generation->reactors[i]);
}

static uint64_t tend_helpers(struct generation *generation, struct reactor_child *reactor,
                             uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    for (unsigned i = 0; i < generation->config->auth.workers; i++) {
        const struct child *worker = &reactor->workers[i];
        if (worker->restart_ms <= now_ms && start_worker(generation, reactor, i))
            log_notice("auth worker %u of reactor %d is now %d", i, (int)reactor->process.pid,
                       (int)worker->pid);
        if (worker->restart_ms < next_ms)
            next_ms = worker->restart_ms;
    }
    if (reactor->opener.restart_ms <= now_ms && start_opener(generation, reactor))
        log_notice("the opener of reactor %d is now %d", (int)reactor->process.pid,
                   (int)reactor->opener.pid);
    return reactor->opener.restart_ms < next_ms ? reactor->opener.restart_ms : next_ms;
}

uint64_t generation_tend(struct generation *generation)
{
    uint64_t now_ms = clock_now_ms(), next_ms = UINT64_MAX;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        uint64_t due_ms = reactor->process.restart_ms;
        if (reactor->process.pid > 0) {
            due_ms = tend_helpers(generation, reactor, now_ms);
        } else if (generation->ending) {
            due_ms = UINT64_MAX;
        } else if (due_ms <= now_ms) {
            if (start_reactor(generation, i))
                log_notice("reactor %u is now %d", i, (int)reactor->process.pid);
            else
                child_gone(&reactor->process, now_ms);
            due_ms = reactor->process.restart_ms;
        }
        if (due_ms < next_ms)
            next_ms = due_ms;
    }
    return next_ms;
}
