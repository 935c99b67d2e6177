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

int supervisor_sockets(int *first)
{
    *first = 3;
    return 0;
}

void supervisor_ready(void)
{
}

void supervisor_reloading(void)
{
}

void supervisor_stopping(void)
{
}

uint64_t supervisor_watchdog_ms(void)
{
    return 0;
}

void supervisor_alive(void)
{
}

bool supervisor_supported(void)
{
    return false;
}

#endif
