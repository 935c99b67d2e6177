/* What a reactor that somebody else has taken over could still ask of the kernel. Each call is
 * made in a process of its own, behind the filter. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/system_calls.h"

static int in_the_filter(int (*attempt)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool limited = prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 && system_calls_limit();
        _exit(!limited ? 200 : attempt() < 0 ? errno : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int open_file(void)
{
    return open("/etc/hostname", O_RDONLY);
}

static int look_for_file(void)
{
    return access("/etc/passwd", F_OK);
}

static int ask_of_file(void)
{
    struct stat about;
    return stat("/etc/passwd", &about);
}

static int remove_file(void)
{
    return unlink("/tmp/nothing-of-that-name");
}

static int make_process(void)
{
    return (int)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static int execute(void)
{
    char *arguments[] = {(char *)(uintptr_t) "true", NULL};
    return execv("/bin/true", arguments);
}

static int make_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int make_netlink_socket(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}

static int make_memory_executable(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? 0 : mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int map_executable_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? -1 : 0;
}

static int signal_parent(void)
{
    return kill(getppid(), 0);
}

static int trace_parent(void)
{
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int type_into_terminal(void)
{
    char letter = 'x';
    return ioctl(STDIN_FILENO, TIOCSTI, &letter);
}

static int become_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L);
}

static void test_a_taken_reactor_gets_nowhere(void **state)
{
    (void)state;
    static int (*const attempts[])(void) = {
        open_file,
        look_for_file,
        ask_of_file,
        remove_file,
        make_process,
        execute,
        make_unix_socket,
        make_netlink_socket,
        signal_parent,
        make_memory_executable,
        map_executable_memory,
        trace_parent,
        become_dumpable,
        type_into_terminal,
    };
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        if (in_the_filter(attempts[i]) != EPERM)
            fail_msg("attempt %zu: %s", i, strerrordesc_np(in_the_filter(attempts[i])));
}

static int talk(void)
{
    int descriptor = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), size;
    char byte;
    struct stat about;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (descriptor < 0 && errno == EAFNOSUPPORT)
        descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    bool good = descriptor >= 0 && page != MAP_FAILED && munmap(page, 4096) == 0 &&
                getrandom(&byte, 1, 0) == 1 && fstat(descriptor, &about) == 0;
    return good && ioctl(descriptor, FIONREAD, &size) < 0 && errno == EINVAL ? 0 : -1;
}

static void test_what_a_reactor_does_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(in_the_filter(talk), 0);
}

static int end_with_abort(void)
{
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void test_a_failed_assertion_ends_it(void **state)
{
    (void)state;
    assert_int_equal(in_the_filter(end_with_abort), -SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_taken_reactor_gets_nowhere),
        cmocka_unit_test(test_what_a_reactor_does_is_allowed),
        cmocka_unit_test(test_a_failed_assertion_ends_it),
    };
    if (!system_calls_known())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
