/*
 * The opener's child until it is the program: sheds what it has from the opener (descriptors,
 * signals, rights, limits), then executes. Allocates nothing and logs nothing: a failure goes
 * back to the opener as an errno.
 */
#include "proxy/opener_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Programs that use select(), or that close all that there might be, expect no more. */
#define DESCRIPTOR_LIMIT  1024
#define STATUS_DESCRIPTOR 3

bool opener_user_find(struct opener_user *out, const char *name, bool root, const char **why)
{
    *out = (struct opener_user){.stay = true};
    if (!*name && root)
        *why = "must be given when Postern is started as root";
    if (!*name)
        return !root;
    const struct passwd *entry = getpwnam(name);
    *why = "there is no such user";
    if (!entry)
        return false;
    *why = "is root: write \"root\" if that is meant";
    if (entry->pw_uid == 0 && strcmp(name, "root") != 0)
        return false;
    if (!root) {
        *why = "only root can run a program as somebody else";
        return entry->pw_uid == geteuid();
    }
    out->stay = false;
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    out->group_count = OPENER_GROUP_LIMIT;
    *why = "is in too many groups";
    return getgrouplist(name, out->gid, out->groups, &out->group_count) >= 0;
}

static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The status pipe goes last, as it may stand where another one is wanted. */
static bool place_descriptors(const struct opener_spawn *spawn)
{
    if (dup2(spawn->session, STDIN_FILENO) < 0 || dup2(spawn->session, STDOUT_FILENO) < 0 ||
        dup2(spawn->log, STDERR_FILENO) < 0)
        return false;
    if (spawn->status != STATUS_DESCRIPTOR &&
        dup3(spawn->status, STATUS_DESCRIPTOR, O_CLOEXEC) < 0)
        return false;
    return close_range(STATUS_DESCRIPTOR + 1, ~0u, 0) == 0;
}

static bool set_limits(void)
{
    const struct rlimit no_core = {0, 0};
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return false;
    if (files.rlim_cur > DESCRIPTOR_LIMIT)
        files.rlim_cur = DESCRIPTOR_LIMIT;
    return setrlimit(RLIMIT_NOFILE, &files) == 0 && setrlimit(RLIMIT_CORE, &no_core) == 0;
}

static bool become(const struct opener_user *user)
{
    return user->stay || (setgroups((size_t)user->group_count, user->groups) == 0 &&
                          setresgid(user->gid, user->gid, user->gid) == 0 &&
                          setresuid(user->uid, user->uid, user->uid) == 0);
}

/* Behind the change of user, which undoes it. */
static bool end_with(pid_t opener)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
        return false;
    if (getppid() == opener)
        return true;
    errno = ESRCH;
    return false;
}

_Noreturn void opener_spawn_program(const struct opener_spawn *spawn)
{
    int status = spawn->status;
    reset_signals();
    setsid();
    umask(022);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0L, 0L, 0L);
    if (place_descriptors(spawn)) {
        status = STATUS_DESCRIPTOR;
        if (chdir("/") == 0 && set_limits() && become(spawn->user) && end_with(spawn->opener))
            execve(spawn->arguments[0], spawn->arguments, spawn->environment);
    }
    int error = errno;
    if (write(status, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}
