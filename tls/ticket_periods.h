/*
 * The secrets that session tickets are made with where no file is shared: a random one for each
 * period. All processes that a master has forked share the memory that holds the secret of the
 * present period; the secret of the next period overwrites it there.
 */
#ifndef POSTERN_TLS_TICKET_PERIODS_H
#define POSTERN_TLS_TICKET_PERIODS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "tls/context.h"

struct ticket_periods;

/* Returns memory that children share, or NULL. */
MUST_USE struct ticket_periods *ticket_periods_new(void);
/* Erases the secret for all processes. NULL is allowed. */
void ticket_periods_free(struct ticket_periods *periods);

/*
 * Writes the secret of a period (time / TLS_TICKET_PERIOD_S). The first process that asks for a
 * period draws its secret, which erases the one before. If another process is a period ahead,
 * writes the secret of that period. Returns false if there is none; `out` is then random and
 * known to the caller only.
 */
MUST_USE bool ticket_periods_take(struct ticket_periods *periods, uint64_t period,
                                  uint8_t out[static TLS_TICKET_SECRET_SIZE]);

#endif
