/* Lines of the log that a reactor holds back until the next one, and their deadline. */
#ifndef POSTERN_REACTOR_LOG_H
#define POSTERN_REACTOR_LOG_H

#include <event2/event.h>

/* From now on lines may wait, for a second at most. */
void reactor_log_begin(struct event_base *base);
/* Writes what waits; from now on no line waits. */
void reactor_log_end(void);

#endif
