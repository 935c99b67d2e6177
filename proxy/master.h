/*
 * The master: the one process that keeps its privileges. Binds the ports,
 * reads the keys, starts and replaces the others, carries out signals. Parses
 * nothing that comes from the network.
 */
#ifndef POSTERN_MASTER_H
#define POSTERN_MASTER_H

#include "proxy/config.h"

/* Runs until SIGTERM or SIGINT; returns the exit status. Owns `config`, which was loaded from
 * `path`; NULL after an upgrade, when a fault of it must not end what another program has
 * left. */
int master_run(struct config *config, const char *path);

#endif
