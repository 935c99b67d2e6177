/*
 * The master: the one process that keeps its privileges. Binds the ports,
 * reads the keys, starts and replaces the others, carries out signals. Parses
 * nothing that comes from the network.
 */
#ifndef POSTERN_MASTER_H
#define POSTERN_MASTER_H

#include "proxy/config.h"

/* Runs until SIGTERM or SIGINT; returns the exit status. Owns `config`. */
int master_run(struct config *config);

#endif
