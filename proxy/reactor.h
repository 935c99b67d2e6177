/*
 * The reactor: the process that talks to the network. One event loop with all
 * sessions of one generation, without privileges, in an empty root.
 */
#ifndef POSTERN_REACTOR_H
#define POSTERN_REACTOR_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/contexts.h"
#include "proxy/permits.h"
#include "proxy/tally.h"
#include "tls/ticket_periods.h"

/* A listening socket and what belongs to it. */
struct reactor_listener {
    size_t listen; /* index into config->listens */
    int fd;
};

struct reactor_settings {
    const struct config *config;
    const struct contexts *contexts;
    struct tally *tally;     /* shared by all reactors */
    struct permits *permits; /* likewise */
    const struct reactor_listener *listeners;
    size_t listener_count;
    int control;                           /* socket to the master */
    int log;                               /* for log_use_relay(); -1: none */
    struct ticket_periods *ticket_periods; /* shared by all reactors */
    uint32_t statistics;                   /* for statistics_use() */
    bool refusing; /* new connections, until CONTROL_REFUSE says otherwise */
};

/*
 * Runs in a process of its own, just forked by the master, and ends it: never returns. Closes
 * every descriptor that is not named in the settings.
 */
_Noreturn void reactor_run(const struct reactor_settings *settings);

#endif
