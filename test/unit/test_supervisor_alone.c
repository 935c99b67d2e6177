/* A program that was built without libsystemd, under a supervisor that waits to be told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* NOLINTNEXTLINE: compiled here without HAVE_LIBSYSTEMD */
#include "proxy/supervisor.c"

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
    return fd;
}

static void expect(int fd, const char *begins)
{
    char heard[128] = "";
    assert_true(recv(fd, heard, sizeof heard - 1, 0) > 0);
    assert_memory_equal(heard, begins, strlen(begins));
}

static void check_at(const char *path)
{
    int fd = listen_at(path);
    supervisor_ready();
    expect(fd, "READY=1\n");
    supervisor_alive();
    expect(fd, "WATCHDOG=1");
    supervisor_stopping();
    expect(fd, "STOPPING=1\n");
    close(fd);
}

static void test_unit_becomes_ready_is_watched_and_stops(void **state)
{
    char path[] = "/tmp/postern-notify-XXXXXX", abstract[64];
    (void)state;
    assert_non_null(mkdtemp(path));
    strcpy(abstract, path);
    abstract[0] = '@';
    check_at(abstract);

    char file[64];
    snprintf(file, sizeof file, "%s/socket", path);
    check_at(file);
    unlink(file);
    rmdir(path);
}

static void test_watchdog_is_fed_as_often_as_it_is_asked_for(void **state)
{
    (void)state;
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(supervisor_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(supervisor_watchdog_ms(), 30000);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    supervisor_ready();
    setenv("NOTIFY_SOCKET", "", 1);
    supervisor_ready();
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    supervisor_ready();
    char longest[300];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    supervisor_ready();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit_becomes_ready_is_watched_and_stops),
        cmocka_unit_test(test_watchdog_is_fed_as_often_as_it_is_asked_for),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
