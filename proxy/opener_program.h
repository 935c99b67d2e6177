/*
 * The programs of an opener, one for each session of a backend that is a
 * program.
 *
 *   STARTING ──executed──> RUNNING ──exits──> gone
 *      │ errno               │ session over, 5 s
 *      v                     v
 *     gone                 TERMED (SIGTERM) ──5 s──> KILLED (SIGKILL)
 *
 * A program that has exited may have left its session to others of its process
 * group, as a shell script does that starts a mail server in the background or
 * waits for one and is ended. Then they go through the same in its place, from
 * RUNNING to KILLED, as a group; they had their first 5 s with a program that
 * had to be ended. Those who have not got its session, as Exim's deliveries,
 * are nobody's here.
 *
 * That a session is over is seen from the kernel, not told by the reactor:
 * the opener holds the program's end of the socket pair too, and it hangs up
 * when the last descriptor of the reactor's end is closed, by a lost message,
 * a bug or a death as well as on purpose.
 */
#ifndef POSTERN_OPENER_PROGRAM_H
#define POSTERN_OPENER_PROGRAM_H

#include <event2/event.h>

#include "proxy/base/compiler.h"
#include "proxy/opener_message.h"
#include "proxy/opener_settings.h"

struct programs;

/* Once for each order: a descriptor, to be closed by the caller afterwards, or an errno. */
typedef void programs_answer(void *context, uint64_t order, int descriptor, int error);
/* The last program is gone. */
typedef void programs_none(void *context);

/* Looks the users up (`root`: as root could) and opens the pipes for what programs say on
 * standard error. NULL: the cause is logged. Takes SIGCHLD. */
MUST_USE struct programs *programs_new(struct event_base *base,
                                       const struct opener_settings *settings, bool root,
                                       programs_answer *answer, programs_none *none,
                                       void *context);

/* Starts one; the answer may come before it returns. */
void programs_start(struct programs *programs, const struct opener_order *order);

unsigned programs_count(const struct programs *programs);

/* Sends SIGTERM to all of them and their groups, and forgets them. NULL is allowed. */
void programs_free(struct programs *programs);

#endif
