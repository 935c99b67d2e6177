/*
 * The two clocks of the program: CLOCK_MONOTONIC for every deadline, CLOCK_REALTIME only for
 * what people read. Called by everybody; keeps no state.
 */
#include "proxy/base/clock.h"

#include <stddef.h>
#include <time.h>

uint64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void clock_text(char out[static CLOCK_TEXT_SIZE])
{
    struct timespec now;
    struct tm calendar;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &calendar);

    size_t length = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S.", &calendar);
    unsigned milliseconds = (unsigned)(now.tv_nsec / 1000000);
    for (size_t i = length + 3; i-- > length; milliseconds /= 10)
        out[i] = (char)('0' + milliseconds % 10);
    out[length + 3] = 'Z';
    out[length + 4] = '\0';
}
