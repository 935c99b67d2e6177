/* Events for those who watch: what they do not take is counted, and nobody waits for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/admin/message.h"
#include "proxy/admin/watched.h"
#include "proxy/base/log.h"

struct world {
    struct event_base *base;
    struct admin_watched *watched;
};

static void make_world(struct world *world)
{
    log_configure(&(struct log_options){LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LEVEL_ERROR});
    world->base = event_base_new();
    world->watched = admin_watched_new(world->base);
    assert_non_null(world->watched);
}

static void end_world(struct world *world)
{
    admin_watched_free(world->watched);
    event_base_free(world->base);
    assert_false(log_is_watched());
}

/* Returns the end to read from. */
static int watch(struct world *world, uint32_t serial)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    admin_watched_add(world->watched, serial, pair[1]);
    return pair[0];
}

static void happen(const char *user)
{
    struct log_record record;
    log_begin(&record, LOG_LEVEL_INFO, "message");
    log_text(&record, "client", "192.0.2.1");
    log_text(&record, "user", user);
    log_end(&record);
}

static bool take(int fd, struct admin_event *event)
{
    ssize_t got = recv(fd, event, sizeof *event, 0);
    assert_true(got < 0 || admin_event_valid(event, (size_t)got));
    return got > 0;
}

static void test_watcher_that_does_not_read_stops_nobody(void **state)
{
    struct world world;
    struct admin_event event;
    uint32_t total = 5000, taken = 0;
    (void)state;
    make_world(&world);
    int fd = watch(&world, 1);
    for (uint32_t i = 0; i < total; i++)
        happen("alice");
    for (; take(fd, &event); taken++)
        assert_int_equal(event.lost, 0);
    assert_in_range(taken, 1, total - 1);
    happen("bob");
    assert_true(take(fd, &event));
    assert_int_equal(event.lost, total - taken);
    assert_string_equal(event.user, "bob");
    assert_string_equal(event.client, "192.0.2.1");
    close(fd);
    end_world(&world);
}

static void test_log_is_watched_only_while_somebody_is_there(void **state)
{
    struct world world;
    (void)state;
    make_world(&world);
    assert_false(log_is_watched());
    int first = watch(&world, 1), second = watch(&world, 2);
    close(first);
    event_base_loop(world.base, EVLOOP_NONBLOCK);
    assert_true(log_is_watched());
    happen("alice");
    close(second);
    event_base_loop(world.base, EVLOOP_NONBLOCK);
    assert_false(log_is_watched());
    end_world(&world);
}

/* As a reactor is asked again by the same one when reactors come and go. */
static void test_no_event_comes_twice(void **state)
{
    struct world world;
    struct admin_event event;
    int pair[2];
    (void)state;
    make_world(&world);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    for (int i = 0; i < 9; i++)
        admin_watched_add(world.watched, 81, dup(pair[1]));
    close(pair[1]);
    happen("alice");
    assert_true(take(pair[0], &event));
    assert_false(take(pair[0], &event));
    close(pair[0]);
    end_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watcher_that_does_not_read_stops_nobody),
        cmocka_unit_test(test_log_is_watched_only_while_somebody_is_there),
        cmocka_unit_test(test_no_event_comes_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
