/*
 * The blocks of statistics.h in shared memory: made by the master before it
 * forks, one block for the master and one for each living reactor, and the
 * sum of what ended reactors have counted; and beside them the last hour
 * (history.h) and the latest failures (failures.h). Every process that has them can
 * write them, so that a reader takes numbers from here and nothing else: no
 * text, no length, no index.
 */
#ifndef POSTERN_STATISTICS_MEMORY_H
#define POSTERN_STATISTICS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"
#include "proxy/history.h"
#include "proxy/statistics.h"

/* More reactors than all generations together may have. */
#define STATISTICS_PLACES 4608u
/* A reactor without a block of its own: its figures are not seen. */
#define STATISTICS_NO_PLACE UINT32_MAX

/* By the master, once. From now on it counts there. */
MUST_USE bool statistics_share(void);

/*
 * From one program to the next: the memory as a descriptor, which stays the statistics'; what
 * another program has left, which is taken over instead of statistics_share() (false: it counts
 * other things, and is closed); and which processes of that one still live, as the others'
 * places are free.
 */
int statistics_descriptor(void);
MUST_USE bool statistics_adopt(int descriptor);
void statistics_keep(const pid_t *living, size_t count);

/* By the master: a place for a reactor that is about to be forked, whose it is, and its end. */
uint32_t statistics_take_place(void);
void statistics_give_place(uint32_t place, pid_t pid);
void statistics_leave_place(uint32_t place);
/* The same by its process, of which it is not known whether it had one. */
void statistics_leave(pid_t pid);
/* The place of a process that another program has started. */
uint32_t statistics_place_of(pid_t pid);

/* By a reactor, at its start. */
void statistics_use(uint32_t place);

/* A reactor's loop has turned, and how often it has. */
void statistics_turn(uint32_t place);
uint64_t statistics_turns(uint32_t place);

/*
 * Processes that are executed map nothing but pages of their own, for what they count: log
 * records that are lost. The descriptor is passed between fork() and execv(), with a fixed
 * number, and closed by the program when it has mapped them. Without it, nobody sees what that
 * process counts.
 */
void statistics_pass_to_helper(void);
void statistics_use_as_helper(void);

/* Adds all blocks up; gauges those of living processes. */
void statistics_sum(struct statistics *out);

/* Writes the point of this time into the history, unless it is there. By any reactor, often. */
void statistics_note_history(void);
/* NULL: nothing is shared. */
struct history *statistics_history(void);

/* When the master began to count: seconds since 1970. */
int64_t statistics_began(void);

#endif
