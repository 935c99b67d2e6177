/* Listeners of one configuration that cannot both be bound, as *:465 beside 0.0.0.0:465. Used
 * by `postern -n`, `postern setup` and the doctor. */
#ifndef POSTERN_OVERLAP_H
#define POSTERN_OVERLAP_H

#include <stddef.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

/*
 * An earlier listener that takes connections to the address of listener `index`, or the other
 * way round. NULL: there is none, or both are listened on already, as two sockets of a systemd
 * socket unit (BindIPv6Only=ipv6-only) can be.
 */
const struct config_listen *overlap_find(const struct config *config, size_t index);

/* Logs each pair as an error. False: there is one. */
MUST_USE bool overlap_check(const struct config *config);

/* What is wrong with such a pair, in a printf format for address and name of the other one. */
#define OVERLAP_WHY                                                                            \
    "cannot be bound beside \"%.200s\" of listen \"%.100s\", as one of the two is all "        \
    "addresses and has the other in it: leave one out, or give it another port"

#endif
