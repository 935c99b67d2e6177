/*
 * What a reactor does to its own process: signals, descriptors, privileges, memory. Called by
 * reactor.c at its start and its end.
 */
#include "proxy/reactor_process.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "proxy/privileges.h"

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

bool reactor_process_give_up_privileges(const char *name)
{
    struct privileges_user user;
    was_root = geteuid() == 0;
    if (was_root && (!privileges_find_user(name, &user) || !privileges_drop(&user)))
        return false;
    return privileges_no_new() && privileges_hide_memory();
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
