/* Time: a monotonic clock for deadlines, the calendar for logs. */
#ifndef POSTERN_BASE_CLOCK_H
#define POSTERN_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since some point before this process; never goes back. */
uint64_t clock_now_ms(void);

/* Milliseconds since 1970. */
int64_t clock_wall_ms(void);

/* "2026-11-23T14:05:09.123Z" and its NUL. */
#define CLOCK_TEXT_SIZE 25
void clock_text(char out[static CLOCK_TEXT_SIZE]);

#endif
