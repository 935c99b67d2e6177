/*
 * What a reactor does to its own process: signals, descriptors, privileges, memory. Called by
 * reactor.c at its start and its end.
 */
#include "proxy/reactor_process.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/privileges.h"
#include "proxy/system_calls.h"

static bool was_root; /* is in an empty root now */

void reactor_process_set_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

bool reactor_process_keep_descriptors(const struct reactor_settings *settings)
{
    size_t count = 0;
    int *keep = calloc(settings->listener_count + 2, sizeof *keep);
    if (!keep)
        return false;
    for (size_t i = 0; i < settings->listener_count; i++)
        keep[count++] = settings->listeners[i].fd;
    keep[count++] = settings->control;
    if (settings->log >= 0)
        keep[count++] = settings->log;
    privileges_keep_descriptors(keep, count);
    free(keep);
    return true;
}

/* One of the two must keep the files away. */
static bool limit_calls(bool nowhere)
{
    if (system_calls_limit())
        return true;
    if (nowhere)
        log_notice("system calls are not filtered: %s", strerrordesc_np(errno));
    else
        log_error(
            "neither an empty root (CAP_SYS_CHROOT) nor a filter of system calls (%s) can "
            "be had; one is needed",
            strerrordesc_np(errno));
    return nowhere;
}

bool reactor_process_give_up_privileges(const char *name)
{
    struct privileges_user user;
    was_root = geteuid() == 0;
    if (was_root && !privileges_find_user(name, &user))
        return false;
    bool nowhere = was_root && privileges_may_enter_nowhere() && privileges_enter_nowhere();
    if (was_root && !privileges_drop(&user))
        return false;
    return privileges_no_new() && privileges_hide_memory() &&
           (!was_root || limit_calls(nowhere));
}

void reactor_process_set_allocator(void)
{
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
}

_Noreturn void reactor_process_leave(int status)
{
    if (was_root)
        _exit(status);
    (void)prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L);
    exit(status);
}
