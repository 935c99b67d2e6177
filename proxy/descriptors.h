/* How many descriptors a reactor needs, and how many connections a limit of them carries. */
#ifndef POSTERN_DESCRIPTORS_H
#define POSTERN_DESCRIPTORS_H

#include <stdint.h>

#include "proxy/config.h"

/* Each connection may become a session, with a socket of the backend's. */
uint64_t descriptors_needed(const struct config *config, unsigned connections);

/* How many connections `descriptors` are enough for; at least 1. */
unsigned descriptors_carry(const struct config *config, uint64_t descriptors);

#endif
