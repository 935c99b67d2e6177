/*
 * The reactors of one configuration: starting them, replacing those that die, carrying out
 * what a reactor may ask for. A reactor is taken for hostile: it names slots and requests by
 * number, and the numbers are checked.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/contexts.h"
#include "proxy/control.h"
#include "proxy/generation_internal.h"
#include "proxy/opener.h"
#include "proxy/privileges.h"
#include "proxy/statistics_memory.h"

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
        size_t found =
            listeners_of(generation->environment->listeners, &config->listens[i],
                         generation->accepting, index, generation->reactor_count, fds, SOCKETS);
        for (size_t j = 0; j < found; j++)
            list[(*count)++] = (struct reactor_listener){i, fds[j]};
    }
    return list;
}

static bool start_reactor(struct generation *generation, unsigned index)
{
    struct reactor_child *reactor = &generation->reactors[index];
    size_t count;
    int pair[2];
    if (!generation->contexts)
        generation->contexts = contexts_new(generation->config);
    if (!generation->contexts)
        return false;
    struct reactor_listener *listeners = list_listeners(generation, index, &count);
    if (!listeners || !control_pair(pair)) {
        free(listeners);
        return false;
    }
    struct reactor_settings settings = {
        .config = generation->config,
        .contexts = generation->contexts,
        .tally = generation->environment->tally,
        .permits = generation->environment->permits,
        .listeners = listeners,
        .listener_count = count,
        .control = pair[1],
        .log = generation->environment->log,
        .ticket_periods = generation->environment->ticket_periods,
        .statistics = statistics_take_place(),
        .refusing = generation->environment->refusing,
    };
    bool started = child_start_reactor(&reactor->process, &settings);
    free(listeners);
    close(pair[1]);
    reactor->control = pair[0];
    reactor->statistics = settings.statistics;
    statistics_give_place(reactor->statistics, reactor->process.pid);
    reactor->ready = false;
    reactor->reload = RELOAD_NOT_ASKED;
    if (started)
        reactor_child_start_helpers(reactor, generation->config);
    return started;
}

bool generation_make_places(struct generation *generation)
{
    const struct config *config = generation->config;
    generation->reactors = calloc(config->workers, sizeof *generation->reactors);
    if (!generation->reactors)
        return false;
    for (unsigned i = 0; i < config->workers; i++) {
        struct reactor_child *reactor = &generation->reactors[generation->reactor_count++];
        reactor->control = -1;
        reactor->statistics = STATISTICS_NO_PLACE;
        reactor->opener.restart_ms = UINT64_MAX;
        reactor->workers = calloc(config->auth.workers, sizeof *reactor->workers);
        if (!reactor->workers)
            return false;
    }
    return true;
}

static bool start_reactors(struct generation *generation)
{
    for (unsigned i = 0; i < generation->reactor_count; i++)
        if (!start_reactor(generation, i))
            return false;
    return true;
}

struct generation *generation_new(const struct generation_environment *environment,
                                  struct config *config)
{
    struct generation *generation = calloc(1, sizeof *generation);
    if (!generation) {
        config_free(config);
        return NULL;
    }
    generation->environment = environment;
    generation->config = config;
    generation->kill_ms = UINT64_MAX;
    return generation;
}

struct generation *generation_start(const struct generation_environment *environment,
                                    struct config *config)
{
    struct generation *generation = generation_new(environment, config);
    if (!generation)
        return NULL;
    generation->contexts = contexts_new(config);
    if (generation->contexts && opener_check(config) && generation_make_places(generation) &&
        start_reactors(generation))
        return generation;
    generation_free(generation);
    return NULL;
}

void generation_kill(struct generation *generation)
{
    const struct config *config = generation->config;
    generation->ending = true;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->process.pid > 0)
            privileges_signal(reactor->process.pid, config->user, SIGKILL);
        reactor_child_end_helpers(reactor, config, generation->environment->departing, true);
    }
}

void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    generation_kill(generation);
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        reactor_child_leave(&generation->reactors[i]);
        free(generation->reactors[i].workers);
    }
    contexts_free(generation->contexts);
    free(generation->reactors);
    config_free(generation->config);
    free(generation);
}

size_t generation_list(const struct generation *generation, struct former *out, size_t size)
{
    size_t count = 0;
    for (unsigned i = 0; i < generation->reactor_count && count < size; i++) {
        const struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->process.pid > 0)
            out[count++] = (struct former){reactor->process.pid, reactor->control, -1};
    }
    return count;
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

void generation_tell_one(const struct reactor_child *reactor, enum control_type type,
                         uint32_t number, int descriptor)
{
    struct control_message message = {.type = type, .number = number};
    if (reactor->control >= 0 && !control_send(reactor->control, &message, descriptor))
        log_warning("cannot send a message to reactor %d: %s", (int)reactor->process.pid,
                    strerrordesc_np(errno));
}

static void end_all(struct generation *generation, enum control_type type, uint32_t first,
                    uint32_t others)
{
    generation->ending = true;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        struct control_message message = {.type = type, .number = i == 0 ? first : others};
        if (reactor->control >= 0 && !control_send(reactor->control, &message, -1) &&
            reactor->process.pid > 0)
            privileges_signal(reactor->process.pid, generation->config->user, SIGTERM);
    }
}

void generation_accept(struct generation *generation)
{
    generation->accepting = true;
    generation_tell(generation, CONTROL_ACCEPT, 0);
}

void generation_drain(struct generation *generation)
{
    end_all(generation, CONTROL_DRAIN, 0, 0);
}

void generation_leave(struct generation *generation)
{
    end_all(generation, CONTROL_DRAIN, 1, 1);
}

void generation_stop(struct generation *generation, bool lingers)
{
    end_all(generation, CONTROL_STOP, lingers, 0);
    if (generation->kill_ms != UINT64_MAX)
        return;
    const struct config_timeouts *timeouts = &generation->config->timeouts;
    generation->kill_ms = clock_now_ms() + timeouts->drain_ms + GENERATION_KILL_AFTER_MS;
    generation->last_ms =
        generation->kill_ms + timeouts->backend_reply_ms + GENERATION_KILL_AFTER_MS;
}

uint64_t generation_kill_ms(const struct generation *generation)
{
    return generation->kill_ms;
}

static void reactor_ended(struct generation *generation, struct reactor_child *reactor,
                          int status)
{
    char text[CHILD_STATUS_SIZE];
    pid_t pid = reactor->process.pid;
    child_status_text(status, text);
    child_gone(&reactor->process, clock_now_ms());
    reactor_child_leave(reactor);
    reactor_child_end_helpers(reactor, generation->config, generation->environment->departing,
                              false);

    if (generation->ending)
        reactor->process.restart_ms = UINT64_MAX;
    if (generation->ending && status == 0)
        log_info("reactor %d has finished its sessions", (int)pid);
    else if (reactor->ready)
        log_error("reactor %d ended: %s; its sessions are lost%s", (int)pid, text,
                  generation->ending ? "" : ", a new one is started");
    else
        log_error("reactor %d ended before it was ready: %s", (int)pid, text);
    if (!generation->ending)
        statistics_add(&statistics->children_lost[STATISTICS_CHILD_REACTOR], 1);
    generation->failed |= !generation->served && !generation->ending;
}

bool generation_child_ended(struct generation *generation, pid_t pid, int status)
{
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->process.pid == pid) {
            reactor_ended(generation, reactor, status);
            return true;
        }
        if (reactor_child_helper_ended(reactor, generation->config, generation->ending, pid,
                                       status))
            return true;
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

static void take_wish(const struct generation *generation, const struct reactor_child *reactor,
                      const struct control_message *message)
{
    uint32_t limit = message->type == CONTROL_REFUSE   ? 1
                     : message->type == CONTROL_REOPEN ? 0
                                                       : LOG_LEVEL_DEBUG;
    if (message->number <= limit)
        generation->environment->wish(generation->environment->wish_context, message);
    else
        log_error("reactor %d asks for what does not exist", (int)reactor->process.pid);
}

/* Never more than once the backend's time after the configured one, whatever a reactor says. */
static void grant_time(struct generation *generation)
{
    uint64_t wanted_ms = clock_now_ms() + generation->config->timeouts.backend_reply_ms +
                         GENERATION_KILL_AFTER_MS;
    if (generation->kill_ms == UINT64_MAX)
        return;
    if (wanted_ms > generation->last_ms)
        wanted_ms = generation->last_ms;
    if (wanted_ms > generation->kill_ms)
        generation->kill_ms = wanted_ms;
}

static void take_message(struct generation *generation, struct reactor_child *reactor,
                         const struct control_message *message)
{
    switch (message->type) {
    case CONTROL_READY:
        reactor->ready = generation->news = true;
        generation->served |= generation_state(generation) == GENERATION_SERVING;
        if (generation->accepting)
            generation_tell_one(reactor, CONTROL_ACCEPT, 0, -1);
        break;
    case CONTROL_WORKER_FAULT:
    case CONTROL_WORKER_RETIRED:
        reactor_child_replace_worker(reactor, generation->config, message->number,
                                     message->type == CONTROL_WORKER_RETIRED);
        break;
    case CONTROL_RELOAD:
        reactor->reload = RELOAD_ASKED;
        generation->environment->wish(generation->environment->wish_context, message);
        break;
    case CONTROL_WAITS:
        grant_time(generation);
        break;
    case CONTROL_REFUSE:
    case CONTROL_LOG_LEVEL:
    case CONTROL_REOPEN:
        take_wish(generation, reactor, message);
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
        reactor_child_close_control(reactor);
        break;
    }
}

void generation_socket_readable(struct generation *generation, int fd)
{
    for (unsigned i = 0; i < generation->reactor_count; i++)
        if (generation->reactors[i].control == fd)
            read_control(generation, &generation->reactors[i]);
}

uint64_t generation_tend(struct generation *generation)
{
    uint64_t now_ms = clock_now_ms();
    if (generation->kill_ms <= now_ms) {
        generation->kill_ms = UINT64_MAX;
        generation_kill(generation);
    }
    uint64_t next_ms = generation->kill_ms;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        uint64_t due_ms = reactor->process.restart_ms;
        if (reactor->process.pid > 0) {
            due_ms = reactor_child_tend(reactor, generation->config, now_ms);
        } else if (generation->ending) {
            due_ms = UINT64_MAX;
        } else if (due_ms <= now_ms) {
            if (start_reactor(generation, i))
                log_notice("reactor %u is now %d", i, (int)reactor->process.pid);
            else
                child_not_started(&reactor->process, now_ms);
            due_ms = reactor->process.restart_ms;
        }
        if (due_ms < next_ms)
            next_ms = due_ms;
    }
    return next_ms;
}

pid_t generation_find_stuck(struct generation *generation, uint64_t now_ms,
                            uint64_t patience_ms)
{
    pid_t stuck = 0;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        uint64_t turns = statistics_turns(reactor->statistics);
        if (turns != reactor->turns || reactor->process.started_ms > reactor->turned_ms ||
            reactor->statistics == STATISTICS_NO_PLACE)
            reactor->turned_ms = now_ms;
        reactor->turns = turns;
        if (reactor->process.pid > 0 && now_ms - reactor->turned_ms > patience_ms)
            stuck = reactor->process.pid;
    }
    return stuck;
}

void generation_tell(const struct generation *generation, enum control_type type,
                     uint32_t number)
{
    for (unsigned i = 0; i < generation->reactor_count; i++)
        generation_tell_one(&generation->reactors[i], type, number, -1);
}
