/*
 * Setting a reactor up, what the master tells it, and its end. Everything that it owns is made
 * before it says READY; what goes wrong before that ends the process with a line in the log.
 */
#include "proxy/reactor.h"

#include <event2/event_struct.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/abuse.h"
#include "proxy/acceptor.h"
#include "proxy/admin/admin.h"
#include "proxy/attempts.h"
#include "proxy/base/log.h"
#include "proxy/base/slab.h"
#include "proxy/connections.h"
#include "proxy/control_client.h"
#include "proxy/door.h"
#include "proxy/identity.h"
#include "proxy/opener_client.h"
#include "proxy/process_title.h"
#include "proxy/reactor_log.h"
#include "proxy/reactor_process.h"
#include "proxy/reactor_tickets.h"
#include "proxy/reactor_upkeep.h"
#include "proxy/resolver.h"
#include "proxy/session.h"
#include "proxy/statistics_memory.h"

/* How often a reactor that is to end looks whether it may. */
#define END_CHECK_MS 50

struct reactor {
    const struct reactor_settings *settings;
    struct service service;
    struct upstream **upstreams; /* by index into config->backends */
    struct door **doors;         /* by index into config->listens */
    struct acceptor **acceptors;
    struct admin *admin;
    struct reactor_tickets tickets;
    struct reactor_upkeep upkeep;
    struct event end_timer, stop_timer, terminated;
    bool draining;
    bool lingers;  /* until the others have ended: those who ask are answered to the last */
    bool orphaned; /* nobody is left who could replace a worker */
};

static void begin_accepting(const struct reactor *reactor)
{
    for (size_t i = 0; reactor->acceptors && i < reactor->settings->listener_count; i++)
        acceptor_begin(reactor->acceptors[i]);
}

/* Ends the loop when the last session is gone and its last bytes are. */
static void on_end_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct reactor *reactor = argument;
    struct timeval wait = {0, END_CHECK_MS * 1000};
    if (connections_count(reactor->service.connections) == 0 &&
        stream_loop_finishing(reactor->service.streams) == 0 && !reactor->lingers &&
        (reactor->service.stopping || !admin_is_busy(reactor->admin)))
        event_base_loopbreak(reactor->service.base);
    else
        evtimer_add(&reactor->end_timer, &wait);
}

static void set_stop_timer(struct reactor *reactor, uint32_t wait_ms)
{
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    evtimer_add(&reactor->stop_timer, &wait);
}

/* Who asks is answered still. */
static void drain(struct reactor *reactor)
{
    if (reactor->draining)
        return;
    reactor->draining = true;
    for (size_t i = 0; i < reactor->settings->listener_count; i++)
        acceptor_free(reactor->acceptors[i]);
    free(reactor->acceptors);
    reactor->acceptors = NULL;
    event_active(&reactor->end_timer, EV_TIMEOUT, 0);
    set_stop_timer(reactor, reactor->settings->config->timeouts.reload_ms);
}

static void stop_one(struct connection *connection, void *context)
{
    (void)context;
    session_stop(session_of(connection));
}

/* What waits for the reply to a whole message goes on: its client would send it again. */
static void end_one(struct connection *connection, void *context)
{
    bool *waits = context;
    *waits |= session_awaits_verdict(session_of(connection));
    session_end(session_of(connection), REPLY_SHUTTING_DOWN, "shutdown, out of time");
}

static void end_sessions(const struct reactor *reactor)
{
    bool waits = false;
    connections_each(reactor->service.connections, end_one, &waits);
    if (!waits || reactor->orphaned)
        return;
    log_notice("sessions with a message whose reply is awaited go on until it has come");
    control_client_tell(reactor->service.control, CONTROL_WAITS, 0);
}

static void stop(struct reactor *reactor, bool lingers)
{
    reactor->lingers = lingers;
    event_active(&reactor->end_timer, EV_TIMEOUT, 0);
    if (reactor->service.stopping)
        return;
    reactor->service.stopping = true;
    drain(reactor);
    admin_stop(reactor->admin);
    connections_each(reactor->service.connections, stop_one, NULL);
    set_stop_timer(reactor, reactor->settings->config->timeouts.drain_ms);
}

/* Of those who drain the time to end by themselves is over, or of those who stop, any. */
static void on_stop_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct reactor *reactor = argument;
    if (reactor->service.stopping)
        end_sessions(reactor);
    else
        stop(reactor, false);
}

static void on_terminated(int number, short what, void *argument)
{
    (void)number, (void)what;
    stop(argument, false);
}

static void attach_worker(struct reactor *reactor, uint32_t slot, int descriptor)
{
    if (descriptor < 0)
        return;
    if (slot < reactor->settings->config->auth.workers)
        auth_pool_attach(reactor->service.pool, slot, descriptor);
    else
        close(descriptor);
    reactor_upkeep_set_gauges(&reactor->service);
}

static void leave_alone(struct reactor *reactor)
{
    reactor->orphaned = true;
    reactor->lingers = false;
    auth_pool_keep_workers(reactor->service.pool);
    admin_left_alone(reactor->admin);
}

static void on_control(void *context, const struct control_message *message, int descriptor)
{
    struct reactor *reactor = context;
    if (!message) {
        if (!reactor->draining)
            log_error(
                "the master is gone: no more connections are accepted, sessions may finish");
        leave_alone(reactor);
        admin_drain(reactor->admin);
        drain(reactor);
        return;
    }
    switch (message->type) {
    case CONTROL_WORKER:
        attach_worker(reactor, message->number, descriptor);
        return;
    case CONTROL_WORKER_ENDED:
        auth_pool_worker_ended(reactor->service.pool, message->number);
        break;
    case CONTROL_OPENER:
        if (descriptor >= 0)
            opener_client_attach(reactor->service.opener, descriptor);
        return;
    case CONTROL_ADMIN:
    case CONTROL_PEERS:
    case CONTROL_PEER:
    case CONTROL_ASKED:
    case CONTROL_RELOADED:
    case CONTROL_REOPEN:
        admin_told(reactor->admin, message, descriptor);
        return;
    case CONTROL_LOG_LEVEL:
        if (message->number <= LOG_LEVEL_DEBUG)
            log_set_level((enum log_level)message->number);
        admin_told(reactor->admin, message, descriptor);
        return;
    case CONTROL_REFUSE:
        reactor->service.refusing = message->number == 1;
        admin_told(reactor->admin, message, descriptor);
        return;
    case CONTROL_ACCEPT:
        begin_accepting(reactor);
        break;
    case CONTROL_DRAIN:
        admin_drain(reactor->admin); /* the next generation answers */
        if (message->number == 1)
            leave_alone(reactor);
        drain(reactor);
        break;
    case CONTROL_STOP:
        stop(reactor, message->number == 1);
        break;
    default:
        break;
    }
    if (descriptor >= 0)
        close(descriptor);
}

static void on_worker_fault(void *context, unsigned slot, enum auth_pool_loss loss,
                            const char *reason)
{
    struct reactor *reactor = context;
    if (reactor->service.stopping || reactor->orphaned)
        return;
    if (loss == AUTH_WORKER_SPOILED)
        statistics_add(&statistics->children_lost[STATISTICS_CHILD_WORKER], 1);
    if (loss == AUTH_WORKER_SPENT)
        log_notice("auth worker %u is replaced: %s", slot, reason);
    else
        log_warning("auth worker %u is replaced: %s", slot, reason);
    control_client_tell(
        reactor->service.control,
        loss == AUTH_WORKER_LOST ? CONTROL_WORKER_FAULT : CONTROL_WORKER_RETIRED, slot);
}

static bool wants_names(const struct config *config)
{
    for (size_t i = 0; i < config->backend_count; i++)
        if (config->backends[i].resolve)
            return true;
    return false;
}

/* What needs a file, or more rights than a reactor has. */
static bool make_first(struct reactor *reactor)
{
    struct service *service = &reactor->service;
    const struct config *config = reactor->settings->config;
    service->base = event_base_new();
    if (!service->base)
        return false;
    if (wants_names(config))
        service->resolver = resolver_new(service->base, &config->nameservers);
    return service->resolver || !wants_names(config);
}

static bool make_service(struct reactor *reactor)
{
    struct service *service = &reactor->service;
    const struct config *config = reactor->settings->config;
    service->config = config;
    service->refusing = reactor->settings->refusing;
    service->backend_contexts = reactor->settings->contexts->backends;
    service->streams = stream_loop_new(service->base);
    service->pool = attempts_new_pool(service, on_worker_fault, reactor);
    service->control =
        control_client_new(service->base, reactor->settings->control, on_control, reactor);
    service->opener = opener_client_new(service->base);
    service->connections = connections_new();
    service->permits = reactor->settings->permits;
    service->abuse = abuse_new(service->base, config, reactor->settings->tally);
    service->scratch = malloc(SERVICE_SCRATCH_SIZE);
    if (service->streams && config->tls.kernel && stream_kernel_available())
        stream_loop_use_kernel(service->streams);
    return service->streams && service->pool && service->control && service->opener &&
           service->connections && service->abuse && service->scratch;
}

static void on_offer_changed(void *context)
{
    struct reactor *reactor = context;
    for (size_t i = 0; i < reactor->settings->config->listen_count; i++)
        door_learn(reactor->doors[i]);
}

static bool make_upstreams(struct reactor *reactor)
{
    const struct config *config = reactor->settings->config;
    for (size_t i = 0; i < config->backend_count; i++)
        if (identity_way(config->backends[i].identity)->proxy == PROXY_HEADER_V2)
            stream_loop_keep_names(reactor->service.streams);
    reactor->upstreams = calloc(config->backend_count + 1, sizeof *reactor->upstreams);
    if (!reactor->upstreams)
        return false;
    for (size_t i = 0; i < config->backend_count; i++) {
        reactor->upstreams[i] =
            upstream_new(&reactor->service, &config->backends[i], on_offer_changed, reactor);
        if (!reactor->upstreams[i])
            return false;
    }
    return true;
}

static bool make_doors(struct reactor *reactor)
{
    const struct config *config = reactor->settings->config;
    reactor->doors = calloc(config->listen_count + 1, sizeof *reactor->doors);
    if (!reactor->doors)
        return false;
    for (size_t i = 0; i < config->listen_count; i++) {
        reactor->doors[i] =
            door_new(config, &config->listens[i], reactor->settings->contexts->listens[i],
                     reactor->upstreams);
        if (!reactor->doors[i])
            return false;
    }
    return true;
}

/* Those that no listener names are left alone; those that share one are watched. */
static void begin_probing(struct reactor *reactor)
{
    const struct config *config = reactor->settings->config;
    for (size_t i = 0; i < config->backend_count; i++) {
        size_t beside = config_most_beside(config, i);
        if (beside > 0)
            upstream_begin_probing(reactor->upstreams[i], beside > 1);
    }
}

static bool make_acceptors(struct reactor *reactor)
{
    const struct reactor_settings *settings = reactor->settings;
    reactor->acceptors = calloc(settings->listener_count, sizeof *reactor->acceptors);
    if (!reactor->acceptors)
        return false;
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct reactor_listener *each = &settings->listeners[i];
        reactor->acceptors[i] =
            acceptor_new(&reactor->service, reactor->doors[each->listen], each->fd);
        if (!reactor->acceptors[i])
            return false;
    }
    return true;
}

static bool make_admin(struct reactor *reactor)
{
    reactor->admin =
        admin_new(&reactor->service, reactor->settings->contexts, reactor->upstreams);
    return reactor->admin;
}

static void make_timers(struct reactor *reactor)
{
    struct event_base *base = reactor->service.base;
    reactor_upkeep_start(&reactor->upkeep, &reactor->service, reactor->settings);
    evtimer_assign(&reactor->end_timer, base, on_end_timer, reactor);
    evtimer_assign(&reactor->stop_timer, base, on_stop_timer, reactor);
    evsignal_assign(&reactor->terminated, base, SIGTERM, on_terminated, reactor);
    evsignal_add(&reactor->terminated, NULL);
    reactor_tickets_start(&reactor->tickets, base, reactor->settings);
    reactor_log_begin(base);
}

static void end(struct reactor *reactor)
{
    struct service *service = &reactor->service;
    reactor_tickets_stop(&reactor->tickets);
    reactor_log_end();
    reactor_upkeep_stop(&reactor->upkeep);
    event_del(&reactor->end_timer);
    event_del(&reactor->stop_timer);
    event_del(&reactor->terminated);
    admin_free(reactor->admin);
    for (size_t i = 0; i < service->config->listen_count; i++)
        door_free(reactor->doors[i]);
    for (size_t i = 0; i < service->config->backend_count; i++)
        upstream_free(reactor->upstreams[i]);
    free(reactor->doors);
    free(reactor->upstreams);
    auth_pool_free(service->pool);
    control_client_free(service->control);
    opener_client_free(service->opener);
    connections_free(service->connections);
    abuse_free(service->abuse);
    resolver_free(service->resolver);
    stream_loop_free(service->streams);
    free(service->scratch);
    event_base_free(service->base);
}

_Noreturn void reactor_run(const struct reactor_settings *settings)
{
    static struct reactor reactor;
    reactor.settings = settings;
    statistics_use(settings->statistics);
    log_become_child();
    log_set_process("reactor");
    process_title_set("postern: reactor");
    if (settings->log >= 0)
        log_use_relay(settings->log);
    reactor_process_set_signals();
    reactor_process_set_allocator();
    slab_serve_libevent();
    if (!reactor_process_keep_descriptors(settings) || !make_first(&reactor) ||
        !reactor_process_give_up_privileges(settings->config->user))
        reactor_process_leave(EXIT_FAILURE);
    if (!make_service(&reactor) || !make_upstreams(&reactor) || !make_doors(&reactor) ||
        !make_acceptors(&reactor) || !make_admin(&reactor)) {
        log_error("out of memory");
        reactor_process_leave(EXIT_FAILURE);
    }
    make_timers(&reactor);
    begin_probing(&reactor);
    control_client_tell(reactor.service.control, CONTROL_READY, 0);
    event_base_dispatch(reactor.service.base);
    end(&reactor);
    reactor_process_leave(EXIT_SUCCESS);
}
