/*
 * A new program in place of the running one (SIGUSR2): the master executes
 * the file that it was started from, which may be another by now, and stays
 * the same process. The listening sockets stay open meanwhile, and the old
 * reactors serve them until the new ones do: if the new program cannot serve
 * after all, they go on, and their master is then the new program.
 */
#ifndef POSTERN_UPGRADE_H
#define POSTERN_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/admin/sockets.h"
#include "proxy/base/compiler.h"
#include "proxy/departing.h"
#include "proxy/former.h"
#include "proxy/generation.h"
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
    struct departing *departing;
    bool refusing;  /* new connections */
    int statistics; /* a descriptor; -1: none */
    int log[2];     /* the pair on which the old reactors' records come */
    struct former former[UPGRADE_PROCESSES]; /* old reactors, which finish their sessions */
    size_t former_count;
    /* What is left, which goes on serving; NULL: nothing. And generations at their end. */
    const struct generation *serving;
    struct generation *const *ending;
    size_t ending_count;
    /* What is taken over: the text of its configuration (-1: nothing serves), and a line for
     * each reactor, to be freed. */
    int configuration;
    char *reactors[UPGRADE_PROCESSES];
    size_t reactor_count;
};

/* How the program was started; before process_title_init() writes there. */
void upgrade_remember(int argc, char **argv);

enum upgrade_verdict {
    UPGRADE_REFUSED, /* the cause is in the log */
    UPGRADE_DRAINS,  /* it must find the serving generation draining */
    UPGRADE_ADOPTS,  /* that generation may go on until the next one serves */
};

/* Could the file that stands there now take over? Waits for its answer, a few seconds at most,
 * or until the master is to stop. */
MUST_USE enum upgrade_verdict upgrade_check(const struct upgrade_estate *estate);

/* Becomes it. Returns only if that is not possible, having logged why. */
void upgrade_become(const struct upgrade_estate *estate);

/* Has another program left something for this one? */
bool upgrade_is_next(void);

/* By the program that is asked: binds on trial what the one that asks has not bound. False,
 * having logged why, if that fails. */
MUST_USE bool upgrade_rehearse(const struct config *config);

/*
 * At the start: takes over what another program has left. `estate` has listeners, controls and
 * departing to add to, and gets the rest. False: there was none, or not all of it could be
 * used, which is logged.
 */
MUST_USE bool upgrade_take_over(struct upgrade_estate *estate);

#endif
