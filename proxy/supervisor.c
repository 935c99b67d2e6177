/*
 * What a supervisor such as systemd is told, and what it has passed. libsystemd finds the
 * sockets and the watchdog; its sd_notify() waits for a supervisor that does not read, which
 * the master must not.
 */
#include "proxy/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef HAVE_LIBSYSTEMD
#include <fcntl.h>
#include <systemd/sd-daemon.h>
#endif

#include "proxy/base/clock.h"

#define STATE_SIZE 128

static char untold[STATE_SIZE]; /* the last state, if there was no room for it */

/* One datagram, which is not waited for. False: there is no room for it. */
static bool notify(const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if (length == 0 || length >= sizeof address.sun_path)
        return true;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool full = sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                       (const struct sockaddr *)&address,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0 &&
                errno == EAGAIN;
    close(fd);
    return !full;
}

/* The supervisor waits for some of them: what has no room is told with the next sign of life.
 */
static void tell_state(const char *text)
{
    untold[0] = '\0';
    if (!notify(text))
        snprintf(untold, sizeof untold, "%s", text);
}

void supervisor_ready(void)
{
    tell_state("READY=1\nSTATUS=Serving");
}

void supervisor_reloading(void)
{
    char text[STATE_SIZE];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading",
             clock_now_ms() * 1000);
    tell_state(text);
}

void supervisor_stopping(void)
{
    tell_state("STOPPING=1\nSTATUS=Letting transactions finish");
}

void supervisor_alive(void)
{
    if (!untold[0] || notify(untold)) {
        untold[0] = '\0';
        (void)notify("WATCHDOG=1");
    }
}

#ifdef HAVE_LIBSYSTEMD

int supervisor_sockets(int *first)
{
    int count = sd_listen_fds(1);
    *first = SD_LISTEN_FDS_START;
    for (int i = 0; i < count; i++) {
        int flags = fcntl(*first + i, F_GETFL);
        if (flags >= 0)
            (void)fcntl(*first + i, F_SETFL, flags | O_NONBLOCK);
    }
    return count > 0 ? count : 0;
}

uint64_t supervisor_watchdog_ms(void)
{
    uint64_t usec = 0;
    return sd_watchdog_enabled(0, &usec) > 0 ? usec / 1000 : 0;
}

bool supervisor_supported(void)
{
    return true;
}

#else

int supervisor_sockets(int *first)
{
    *first = 3;
    return 0;
}

uint64_t supervisor_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    return usec ? strtoull(usec, NULL, 10) / 1000 : 0;
}

bool supervisor_supported(void)
{
    return false;
}

#endif
