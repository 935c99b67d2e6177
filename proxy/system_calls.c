/*
 * The reactor's filter of system calls. A call that is not in the tables fails instead of
 * ending the process: a C library or libevent of tomorrow that tries another call first falls
 * back to one of these. Called by reactor_process.c only.
 */
#include "proxy/system_calls.h"

#include <errno.h>

#ifdef HAVE_SECCOMP

#include <fcntl.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL(name)    SCMP_SYS(name)
#define LENGTH(table) (sizeof(table) / sizeof(table)[0])

/* Whatever their arguments are. Those that a session makes most come first. */
static const int always[] = {
    /* what a session does */
    CALL(epoll_wait),
    CALL(recvfrom),
    CALL(sendmsg),
    CALL(recvmsg),
    CALL(sendto),
    CALL(epoll_ctl),
    CALL(getpid),
    CALL(close),
    CALL(write),
    CALL(accept4),
    CALL(connect),
    CALL(setsockopt),
    CALL(getsockname),
    CALL(getsockopt),
    CALL(read),
    CALL(shutdown),
    CALL(getpeername),
    CALL(recv),
    CALL(send),
    CALL(accept),
    CALL(bind),
    CALL(sendmmsg),
    CALL(recvmmsg),
    CALL(readv),
    CALL(writev),
    CALL(pread64),
    CALL(pwrite64),
    CALL(lseek),
    /* how it waits, and what time it is */
    CALL(epoll_pwait),
    CALL(epoll_pwait2),
    CALL(epoll_create1),
    CALL(poll),
    CALL(ppoll),
    CALL(select),
    CALL(pselect6),
    CALL(clock_gettime),
    CALL(clock_gettime64),
    CALL(clock_getres),
    CALL(clock_nanosleep),
    CALL(nanosleep),
    CALL(gettimeofday),
    CALL(time),
    CALL(timerfd_create),
    CALL(timerfd_settime),
    CALL(eventfd2),
    CALL(pipe2),
    /* memory and descriptors */
    CALL(brk),
    CALL(munmap),
    CALL(mremap),
    CALL(madvise),
    CALL(memfd_create),
    CALL(ftruncate),
    CALL(fstat),
    CALL(fstat64),
    CALL(dup),
    CALL(fcntl),
    CALL(fcntl64),
    /* itself */
    CALL(futex),
    CALL(getrandom),
    CALL(gettid),
    CALL(getppid),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(getrusage),
    CALL(getrlimit),
    CALL(ugetrlimit),
    CALL(sched_yield),
    CALL(sched_getaffinity),
    CALL(sysinfo),
    CALL(uname),
    CALL(rseq),
    CALL(set_robust_list),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(sigreturn),
    CALL(sigaltstack),
    CALL(restart_syscall),
    CALL(exit),
    CALL(exit_group),
};

/* If one argument, counted from 0, has this value among the bits of the mask. */
struct rule {
    int call;
    unsigned argument;
    uint64_t mask, value;
};

static const struct rule sometimes[] = {
    {CALL(socket), 0, UINT64_MAX, AF_INET},
    {CALL(socket), 0, UINT64_MAX, AF_INET6},
    {CALL(socketpair), 0, UINT64_MAX, AF_UNIX}, /* it leads to this process alone */
    {CALL(mmap), 2, PROT_EXEC, 0},
    {CALL(mmap2), 2, PROT_EXEC, 0},
    {CALL(mprotect), 2, PROT_EXEC,
     0}, /* fstat() of newer C libraries: of a descriptor, without a path */
    {CALL(newfstatat), 3, UINT64_MAX, AT_EMPTY_PATH},
    {CALL(statx), 2, AT_EMPTY_PATH, AT_EMPTY_PATH},
    {CALL(ioctl), 1, UINT64_MAX, FIONREAD},
    {CALL(ioctl), 1, UINT64_MAX, FIONBIO},
};

static bool fill(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < LENGTH(always); i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, always[i], 0) < 0)
            return false;
    for (size_t i = 0; i < LENGTH(sometimes); i++) {
        const struct rule *rule = &sometimes[i];
        struct scmp_arg_cmp argument = {rule->argument, SCMP_CMP_MASKED_EQ, rule->mask,
                                        rule->value};
        if (seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->call, 1, &argument) < 0)
            return false;
    }
    /* abort() signals this thread alone */
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(tgkill), 1,
                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())) == 0;
}

/* Without SSB, older kernels would slow the process down for good against its own scripts, of
 * which it has none; OPTIMIZE makes a tree of the list. */
bool system_calls_limit(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter) {
        errno = ENOMEM;
        return false;
    }
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1); /* the kernel's own errno */
    int error = fill(filter) ? -seccomp_load(filter) : EINVAL;
    seccomp_release(filter);
    errno = error;
    return error == 0;
}

bool system_calls_known(void)
{
    return true;
}

#else

bool system_calls_known(void)
{
    return false;
}

bool system_calls_limit(void)
{
    errno = ENOSYS;
    return false;
}

#endif
