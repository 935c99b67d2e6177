/*
 * A new program in place of the running one (SIGUSR2): the master executes
 * the file that it was started from, which may be another by now, and stays
 * the same process. The listening sockets stay open meanwhile, so that whoever
 * connects waits for the new reactors instead of being refused; the old ones
 * finish their sessions as at a reload.
 */
#ifndef POSTERN_UPGRADE_H
#define POSTERN_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/admin/sockets.h"
#include "proxy/base/compiler.h"
#include "proxy/former.h"
#include "proxy/listeners.h"
#include "proxy/permits.h"
#include "proxy/tally.h"

/* Reactors of the former program that are remembered. */
#define UPGRADE_PROCESSES 512

/* What the next program takes over. */
struct upgrade_estate {
    struct listeners *listeners;
    struct tally *tally;
    struct permits *permits;
    struct admin_sockets *controls; /* of the administration interface */
    bool refusing;                  /* new connections */
    int statistics;                 /* a descriptor; -1: none */
    int log[2];                     /* the pair on which the old reactors' records come */
    struct former former[UPGRADE_PROCESSES]; /* old reactors, which finish their sessions */
    size_t former_count;
};

/* How the program was started; before process_title_init() writes there. */
void upgrade_remember(int argc, char **argv);

/* Does the file that stands there now take the configuration? Waits for its answer, a few
 * seconds at most; false, having logged it, if not. */
MUST_USE bool upgrade_check(void);

/* Becomes it. Returns only if that is not possible, having logged why. */
void upgrade_become(const struct upgrade_estate *estate);

/*
 * At the start: takes over what another program has left. `estate` has listeners and controls
 * to add to, and gets the rest. False: there was none, or not all of it could be used, which is
 * logged.
 */
MUST_USE bool upgrade_take_over(struct upgrade_estate *estate);

#endif
