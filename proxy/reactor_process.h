/* A reactor's process, apart from what it does. */
#ifndef POSTERN_REACTOR_PROCESS_H
#define POSTERN_REACTOR_PROCESS_H

#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/reactor.h"

void reactor_process_set_signals(void);

/* Memory that one burst of records took is kept for the next, instead of being mapped anew. */
void reactor_process_set_allocator(void);

/* Closes all descriptors but those of the settings. */
MUST_USE bool reactor_process_keep_descriptors(const struct reactor_settings *settings);

/* If it is root, becomes this user, in an empty root where that is allowed, and may call the
 * kernel for little more than its connections. Gives up what it can in any case. */
MUST_USE bool reactor_process_give_up_privileges(const char *name);

/* A process in an empty root leaves at once: there is nothing left that could look for leaks.
 */
_Noreturn void reactor_process_leave(int status);

#endif
