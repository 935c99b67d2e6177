/*
 * An epoll instance holds none of the files that it watches, but keeps watching one for as long
 * as any process has it, also when the process that has added it has closed its own descriptor
 * (epoll(7), "Questions and answers", 6). So an end that shows something is held, and the ends
 * cannot both be silent while they are: one that cannot be written to has left the other one
 * something to read.
 */
#include "proxy/opener_ends.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

enum end {
    END_OF_REACTOR,
    END_OF_PROGRAM,
    END_COUNT,
};

int opener_ends_watch(const int ends[2])
{
    int watch = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; watch >= 0 && i < END_COUNT; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = i};
        if (epoll_ctl(watch, EPOLL_CTL_ADD, ends[i], &event) < 0) {
            int error = errno;
            close(watch);
            errno = error;
            return -1;
        }
    }
    return watch;
}

enum opener_ends opener_ends_look(int watch)
{
    struct epoll_event events[END_COUNT];
    uint32_t shown[END_COUNT] = {0};
    int count = epoll_wait(watch, events, END_COUNT, 0);
    for (int i = 0; i < count; i++)
        shown[events[i].data.u32] = events[i].events;
    if (shown[END_OF_PROGRAM])
        return shown[END_OF_PROGRAM] & EPOLLHUP ? OPENER_ENDS_LEFT : OPENER_ENDS_HELD;
    /* With nobody at the program's end, the reactor's has been hung up or is gone, too. */
    return shown[END_OF_REACTOR] && !(shown[END_OF_REACTOR] & EPOLLHUP) ? OPENER_ENDS_HELD
                                                                        : OPENER_ENDS_RELEASED;
}
