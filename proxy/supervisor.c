/* sd_notify() and LISTEN_FDS behind names of our own, so that nothing else knows of libsystemd.
 */
#include "proxy/supervisor.h"

#ifdef HAVE_LIBSYSTEMD

#include <fcntl.h>
#include <inttypes.h>
#include <systemd/sd-daemon.h>

#include "proxy/base/clock.h"

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

void supervisor_ready(void)
{
    sd_notify(0, "READY=1\nSTATUS=Serving");
}

void supervisor_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading",
               clock_now_ms() * 1000);
}

void supervisor_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=Letting transactions finish");
}

uint64_t supervisor_watchdog_ms(void)
{
    uint64_t usec = 0;
    return sd_watchdog_enabled(0, &usec) > 0 ? usec / 1000 : 0;
}

void supervisor_alive(void)
{
    sd_notify(0, "WATCHDOG=1");
}

bool supervisor_supported(void)
{
    return true;
}

#else

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One datagram, which is all that a unit of Type=notify needs to be started. */
static void notify(const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if (length == 0 || length >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}

int supervisor_sockets(int *first)
{
    *first = 3;
    return 0;
}

void supervisor_ready(void)
{
    notify("READY=1\nSTATUS=Serving");
}

void supervisor_reloading(void)
{
    notify("STATUS=Reloading");
}

void supervisor_stopping(void)
{
    notify("STOPPING=1\nSTATUS=Letting transactions finish");
}

uint64_t supervisor_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    return usec ? strtoull(usec, NULL, 10) / 1000 : 0;
}

void supervisor_alive(void)
{
    notify("WATCHDOG=1");
}

bool supervisor_supported(void)
{
    return false;
}

#endif
