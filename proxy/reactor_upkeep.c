/*
 * The reactor's own timer for what no event reports: gauges of the auth pool, the history of
 * the last hour, and memory that handshakes have left. Called by reactor.c.
 */
#include "proxy/reactor_upkeep.h"

#include <event2/event.h>
#include <malloc.h>

#include "auth/pool.h"
#include "proxy/statistics_memory.h"
#include "tls/stream.h"

#define INTERVAL_S 5

void reactor_upkeep_set_gauges(const struct service *service)
{
    struct auth_pool_state pool = auth_pool_state(service->pool);
    statistics_set(&statistics->auth_workers[STATISTICS_WORKER_IDLE], pool.idle);
    statistics_set(&statistics->auth_workers[STATISTICS_WORKER_BUSY], pool.busy);
    statistics_set(&statistics->auth_workers[STATISTICS_WORKER_ABSENT], pool.absent);
    statistics_set(&statistics->logins_waiting, pool.queued);
}

static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct reactor_upkeep *upkeep = argument;
    statistics_turn(upkeep->figures);
    reactor_upkeep_set_gauges(upkeep->service);
    statistics_note_history();
    uint64_t handshakes = stream_loop_handshakes(upkeep->service->streams);
    if (handshakes != upkeep->trimmed_at)
        malloc_trim(0);
    upkeep->trimmed_at = handshakes;
}

void reactor_upkeep_start(struct reactor_upkeep *upkeep, const struct service *service,
                          const struct reactor_settings *settings)
{
    upkeep->service = service;
    upkeep->figures = settings->statistics;
    event_assign(&upkeep->timer, service->base, -1, EV_PERSIST, on_timer, upkeep);
    event_add(&upkeep->timer, &(struct timeval){INTERVAL_S, 0});
    statistics_note_history(); /* what comes from now on is known to be new */
}

void reactor_upkeep_stop(struct reactor_upkeep *upkeep)
{
    event_del(&upkeep->timer);
}
