/* Used by the master for itself and between fork() and a reactor's first step. */
#include "proxy/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/capabilities.h"

bool privileges_find_user(const char *name, struct privileges_user *out)
{
    const struct passwd *entry = getpwnam(name);
    if (!entry) {
        log_error("there is no user \"%s\" on this system" PRIVILEGES_USERADD, name, name);
        return false;
    }
    if (entry->pw_uid == 0) {
        log_error("\"%s\" is root; a user without rights is needed", name);
        return false;
    }
    *out = (struct privileges_user){entry->pw_uid, entry->pw_gid};
    return true;
}

static bool worked(bool good, const char *what)
{
    if (!good)
        log_error("cannot give up privileges: %s: %s", what, strerrordesc_np(errno));
    return good;
}

bool privileges_hide_memory(void)
{
    const struct rlimit none = {0, 0};
    return worked(setrlimit(RLIMIT_CORE, &none) == 0, "core limit") &&
           worked(prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) == 0, "dumpable");
}

bool privileges_may_enter_nowhere(void)
{
    return (capabilities_permitted() & CAPABILITY(CAP_SYS_CHROOT)) != 0;
}

/* A removed directory stays empty for ever: nothing can be made in it. */
static bool enter_removed_directory(void)
{
    char path[] = "/tmp/postern-XXXXXX";
    if (!mkdtemp(path))
        return false;
    bool entered = chmod(path, 0711) == 0 && chdir(path) == 0;
    bool removed = rmdir(path) == 0;
    return entered && removed && chroot(".") == 0;
}

static int enter_own_directory(void *unused)
{
    (void)unused;
    return chroot("/proc/self/fdinfo") == 0 && chdir("/") == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Where no directory can be made, as the file systems are read-only: a child that shares its
 * root with this process enters its own directory of descriptors, and ends. Nothing can be made
 * in that directory, and nothing is in it any more.
 */
static bool enter_directory_of_the_dead(void)
{
    _Alignas(16) char stack[16384];
    int status = 0;
    pid_t pid = clone(enter_own_directory, stack + sizeof stack, CLONE_FS | SIGCHLD, NULL);
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    errno = EPERM;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

bool privileges_enter_nowhere(void)
{
    if (enter_removed_directory())
        return true;
    int error = errno;
    if (enter_directory_of_the_dead())
        return true;
    log_warning("no empty root can be had: /tmp: %s, /proc: %s", strerrordesc_np(error),
                strerrordesc_np(errno));
    return false;
}

static bool change_user(const struct privileges_user *user)
{
    return worked(setgroups(0, NULL) == 0, "setgroups") &&
           worked(setresgid(user->gid, user->gid, user->gid) == 0, "setresgid") &&
           worked(setresuid(user->uid, user->uid, user->uid) == 0, "setresuid");
}

bool privileges_drop(const struct privileges_user *user)
{
    return change_user(user) && worked(setuid(0) < 0, "root can be had back");
}

bool privileges_become(const struct privileges_user *user)
{
    return worked(prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == 0, "keepcaps") && change_user(user);
}

bool privileges_no_new(void)
{
    return worked(prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0, "no_new_privs");
}

static bool signal_as(uid_t uid, pid_t pid, int number)
{
    if (seteuid(uid) < 0)
        return false;
    bool sent = kill(pid, number) == 0;
    if (seteuid(0) < 0)
        abort();
    return sent;
}

void privileges_signal(pid_t pid, const char *user, int number)
{
    const struct passwd *entry = user && geteuid() == 0 ? getpwnam(user) : NULL;
    if (!entry || !signal_as(entry->pw_uid, pid, number))
        (void)kill(pid, number);
}

unsigned privileges_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 1u << 30 ? 1u << 30 : (unsigned)limit.rlim_cur;
}

static int compare(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;
    return (left > right) - (left < right);
}

void privileges_keep_descriptors(int *keep, size_t count)
{
    unsigned next = 3;
    qsort(keep, count, sizeof *keep, compare);
    for (size_t i = 0; i < count; i++) {
        if (keep[i] < (int)next)
            continue;
        if (keep[i] > (int)next)
            close_range(next, (unsigned)keep[i] - 1, 0);
        next = (unsigned)keep[i] + 1;
    }
    close_range(next, ~0U, 0);
}
