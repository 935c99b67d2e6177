/* What a reactor does every few seconds beside its sessions: figures that no change reports,
 * the last hour's history, and memory that goes back to the system. Owned by reactor.c. */
#ifndef POSTERN_PROXY_REACTOR_UPKEEP_H
#define POSTERN_PROXY_REACTOR_UPKEEP_H

#include <event2/event_struct.h>
#include <stdint.h>

#include "proxy/reactor.h"
#include "proxy/service.h"

struct reactor_upkeep {
    struct event timer;
    const struct service *service;
    uint32_t figures;    /* of statistics_use() */
    uint64_t trimmed_at; /* handshakes there had been */
};

/* `service` and the memory of `settings` must outlive it. */
void reactor_upkeep_start(struct reactor_upkeep *upkeep, const struct service *service,
                          const struct reactor_settings *settings);
void reactor_upkeep_stop(struct reactor_upkeep *upkeep);

/* Sets the gauges of the auth pool now. */
void reactor_upkeep_set_gauges(const struct service *service);

#endif
