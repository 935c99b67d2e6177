/*
 * Whether the two ends of a session's socket pair are still held, by
 * whatever processes, without holding either: a program's children may have
 * its session when the program itself has ended, or may have closed it.
 */
#ifndef POSTERN_OPENER_ENDS_H
#define POSTERN_OPENER_ENDS_H

#include "proxy/base/compiler.h"

enum opener_ends {
    OPENER_ENDS_HELD,     /* both: the session goes on */
    OPENER_ENDS_LEFT,     /* the program's only: the session is over */
    OPENER_ENDS_RELEASED, /* not the program's */
};

/* While the caller still has both, the reactor's and the program's. Returns a descriptor to
 * look at, to be closed by the caller, or -1 and an errno. */
MUST_USE int opener_ends_watch(const int ends[2]);

/* When the caller has neither. A process that is about to execute something else has what the
 * caller had when it made that process: an end may be released a moment later than it was. */
enum opener_ends opener_ends_look(int watch);

#endif
