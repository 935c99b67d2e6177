/*
 * The opener: a process that makes for one reactor the backend connections
 * which a process in an empty root and without rights cannot make: to unix
 * sockets, to programs, and from the client's own address.
 *
 * The master starts it by executing its own binary anew, so that nothing of
 * the master's memory or descriptors is in it (threat 21), and tells it in
 * its arguments how each backend is opened. The reactor names a backend by
 * its index and gives values; it is taken for hostile. The opener ends when
 * its reactor has, and the last program with it.
 *
 * What it keeps of root's rights is what its backends need and no more:
 *
 *   unix socket   CAP_DAC_OVERRIDE, for sockets that not everybody may use
 *   program       CAP_SETUID, CAP_SETGID, CAP_KILL
 *   transparent   CAP_NET_ADMIN
 *
 * Without programs nothing that it executed could gain rights; with them it
 * must be able to, as Exim's is a set-ID program.
 */
#ifndef POSTERN_OPENER_H
#define POSTERN_OPENER_H

#include <stdint.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

/* Can what the configuration wants be done by this process's children? False: the cause is
 * logged. */
MUST_USE bool opener_check(const struct config *config);

/* The capabilities (capabilities.h) that it needs for the backends of a configuration. */
uint64_t opener_needs(const struct config *config);

/* main() of an opener: what stands behind "--opener" in its arguments; standard input is its
 * socket. Returns the exit status. */
int opener_main(int argc, char **argv);

#endif
