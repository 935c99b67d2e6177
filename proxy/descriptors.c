/* Used by the master, which lowers `connections` to what can be served, and by the doctor. */
#include "proxy/descriptors.h"

#define PER_CONNECTION 2u
/* Of the process itself: logs, sockets of the administration, what has ended and is closed. */
#define OF_PROCESS 64u
/* So many helpers and sockets are part of that. */
#define INCLUDED 16u
/* A limit that is smaller than that is shared out all the same. */
#define LEAST_SHARE 8u

static uint64_t of_process(const struct config *config)
{
    uint64_t sockets =
        (uint64_t)config->auth.workers + config->listen_count + config->backend_count;
    return OF_PROCESS + (sockets > INCLUDED ? sockets - INCLUDED : 0);
}

uint64_t descriptors_needed(const struct config *config, unsigned connections)
{
    return of_process(config) + (uint64_t)connections * PER_CONNECTION;
}

unsigned descriptors_carry(const struct config *config, uint64_t descriptors)
{
    uint64_t own = of_process(config), least = descriptors / LEAST_SHARE;
    uint64_t carried = descriptors > own ? (descriptors - own) / PER_CONNECTION : 0;
    carried = carried < least ? least : carried;
    if (carried == 0)
        return 1;
    return carried < UINT32_MAX ? (unsigned)carried : UINT32_MAX;
}
