/* What is seen of a session's ends that other processes have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/opener_ends.h"

enum { REACTOR, PROGRAM, BOTH };

/* Two processes, each with one end; `watch` is all that is left here. */
struct session {
    int watch;
    pid_t holders[BOTH];
};

static void fill(int fd)
{
    char bytes[1000] = {0};
    while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        continue;
}

/* Returns when it holds nothing but that end. */
static pid_t make_holder(const int ends[2], int watch, int end)
{
    char byte = 0;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[!end]);
        close(watch);
        if (write(ready[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    assert_true(pid > 0 && read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static struct session begin(bool clogged_to_reactor, bool clogged_to_program)
{
    int ends[2];
    struct session session;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    session.watch = opener_ends_watch(ends);
    assert_true(session.watch >= 0);
    if (clogged_to_reactor)
        fill(ends[PROGRAM]);
    if (clogged_to_program)
        fill(ends[REACTOR]);
    for (int end = REACTOR; end < BOTH; end++)
        session.holders[end] = make_holder(ends, session.watch, end);
    close(ends[REACTOR]);
    close(ends[PROGRAM]);
    return session;
}

static void release(struct session *session, int end)
{
    assert_int_equal(kill(session->holders[end], SIGKILL), 0);
    assert_int_equal(waitpid(session->holders[end], NULL, 0), session->holders[end]);
}

static void look(const struct session *session, enum opener_ends expected)
{
    for (int again = 0; again < 3; again++)
        assert_int_equal(opener_ends_look(session->watch), expected);
}

static const struct {
    bool to_reactor, to_program;
} cases[] = {{false, false}, {false, true}, {true, false}, {true, true}};

#define EACH_CASE(i) (size_t i = 0; i < sizeof cases / sizeof *cases; i++)

static void test_session_that_goes_on_is_over_when_the_reactor_is_gone(void **state)
{
    (void)state;
    for
        EACH_CASE(i)
        {
            struct session session = begin(cases[i].to_reactor, cases[i].to_program);
            look(&session, OPENER_ENDS_HELD);
            release(&session, REACTOR);
            look(&session, OPENER_ENDS_LEFT);
            release(&session, PROGRAM);
            look(&session, OPENER_ENDS_RELEASED);
            close(session.watch);
        }
}

static void test_end_that_no_program_has_is_released(void **state)
{
    (void)state;
    for
        EACH_CASE(i)
        {
            struct session session = begin(cases[i].to_reactor, cases[i].to_program);
            release(&session, PROGRAM);
            look(&session, OPENER_ENDS_RELEASED);
            release(&session, REACTOR);
            look(&session, OPENER_ENDS_RELEASED);
            close(session.watch);
        }
}

static void test_session_that_is_half_closed_goes_on(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    int watch = opener_ends_watch(ends);
    assert_true(watch >= 0);
    shutdown(ends[REACTOR], SHUT_WR);
    assert_int_equal(opener_ends_look(watch), OPENER_ENDS_HELD);
    close(ends[REACTOR]);
    assert_int_equal(opener_ends_look(watch), OPENER_ENDS_LEFT);
    close(ends[PROGRAM]);
    assert_int_equal(opener_ends_look(watch), OPENER_ENDS_RELEASED);
    close(watch);
}

static void test_what_is_no_socket_is_refused(void **state)
{
    const int ends[] = {-1, -1};
    (void)state;
    assert_int_equal(opener_ends_watch(ends), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_that_goes_on_is_over_when_the_reactor_is_gone),
        cmocka_unit_test(test_end_that_no_program_has_is_released),
        cmocka_unit_test(test_session_that_is_half_closed_goes_on),
        cmocka_unit_test(test_what_is_no_socket_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
