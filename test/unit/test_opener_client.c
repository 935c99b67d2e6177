/*
 * The reactor's side of the opener, with an opener on the other side that is late, dies or has
 * been taken over (threat 22): every request ends once, and no descriptor is left over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/datagram.h"
#include "proxy/opener_client.h"
#include "proxy/opener_message.h"

#define PATIENCE_MS 5000

static struct event_base *base;
static struct opener_client *client;
static int opener = -1; /* its end of the pair */

/* What a callback was told. */
struct told {
    unsigned times;
    int descriptor, error;
};

static const struct opener_session nobody = {.backend = 3, .login = "alice", .esmtp = true};

static void attach(void)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    opener = pair[1];
    opener_client_attach(client, pair[0]);
}

static void opener_dies(void)
{
    if (opener >= 0)
        close(opener);
    opener = -1;
}

static int set_up(void **state)
{
    (void)state;
    base = event_base_new();
    client = opener_client_new(base);
    return base && client ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    opener_dies();
    opener_client_free(client);
    event_base_free(base);
    return 0;
}

static void on_opened(void *context, int descriptor, int error)
{
    struct told *told = context;
    told->times++;
    told->descriptor = descriptor;
    told->error = error;
}

static struct opener_request *ask(struct told *told)
{
    *told = (struct told){0};
    struct opener_request *request = opener_open(client, &nobody, on_opened, told);
    assert_non_null(request);
    assert_int_equal(told->times, 0);
    return request;
}

/* The next order that arrives, turning the loop until it does. */
static struct opener_order next_order(void)
{
    struct opener_order order;
    char bytes[OPENER_MESSAGE_LIMIT];
    struct pollfd wait = {.fd = opener, .events = POLLIN};
    uint64_t end_ms = clock_now_ms() + PATIENCE_MS;
    while (poll(&wait, 1, 0) == 0) {
        assert_true(clock_now_ms() < end_ms);
        event_base_loop(base, EVLOOP_ONCE);
    }
    ssize_t got = recv(opener, bytes, sizeof bytes, 0);
    assert_true(got > 0 && opener_message_read_order(bytes, (size_t)got, &order));
    return order;
}

static void answer(uint64_t id, int error, int descriptor)
{
    char bytes[OPENER_MESSAGE_LIMIT];
    struct opener_answer message = {.id = id, .error = error};
    size_t length = opener_message_write_answer(&message, bytes);
    assert_true(datagram_send(opener, bytes, length, descriptor, 0));
}

/* What is due now. */
static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void test_answer_finds_its_request(void **state)
{
    struct told first, second;
    (void)state;
    attach();
    ask(&first);
    ask(&second);
    struct opener_order a = next_order(), b = next_order();
    assert_string_equal(a.login, "alice");
    assert_int_equal(a.backend, 3);
    answer(b.id, 0, opener);
    answer(a.id, ENOENT, -1);
    turn();
    turn();
    assert_int_equal(first.error, ENOENT);
    assert_int_equal(first.descriptor, -1);
    assert_int_equal(second.error, 0);
    assert_true(second.descriptor >= 0);
    assert_int_equal(first.times + second.times, 2);
    close(second.descriptor);
}

static void test_request_waits_for_an_opener(void **state)
{
    struct told told;
    (void)state;
    ask(&told);
    turn();
    assert_int_equal(told.times, 0);
    attach();
    struct opener_order order = next_order();
    answer(order.id, EUSERS, -1);
    turn();
    assert_int_equal(told.times, 1);
    assert_int_equal(told.error, EUSERS);
}

static void test_request_of_an_opener_that_dies_fails(void **state)
{
    struct told told;
    (void)state;
    attach();
    ask(&told);
    opener_dies();
    turn();
    turn();
    assert_int_equal(told.times, 1);
    assert_int_equal(told.error, ECONNRESET);

    ask(&told);
    attach();
    struct opener_order order = next_order();
    answer(order.id, ENOENT, -1);
    turn();
    assert_int_equal(told.error, ENOENT);
}

static void test_request_of_an_opener_that_is_replaced_fails(void **state)
{
    struct told told;
    (void)state;
    attach();
    ask(&told);
    int before = opener;
    attach();
    turn();
    assert_int_equal(told.times, 1);
    assert_int_equal(told.error, ECONNRESET);
    close(before);
}

static void test_full_backend_is_asked_again(void **state)
{
    struct told told;
    (void)state;
    attach();
    ask(&told);
    struct opener_order order = next_order();
    for (int i = 0; i < 3; i++) {
        answer(order.id, EAGAIN, -1);
        struct opener_order again = next_order();
        assert_true(again.id == order.id);
        assert_int_equal(told.times, 0);
    }
    answer(order.id, 0, opener);
    turn();
    assert_int_equal(told.times, 1);
    close(told.descriptor);
}

static void test_answer_that_nobody_waits_for_is_closed(void **state)
{
    struct told told;
    (void)state;
    attach();
    struct opener_request *request = ask(&told);
    struct opener_order order = next_order();
    unsigned before = count_descriptors();
    opener_request_cancel(request);
    answer(order.id, 0, opener);
    answer(order.id + 1, 0, opener);
    answer(0, ENOENT, -1);
    for (int i = 0; i < 3; i++)
        turn();
    assert_int_equal(told.times, 0);
    assert_int_equal(count_descriptors(), before);
    opener_request_cancel(NULL);
}

static void test_answer_that_contradicts_itself_is_none(void **state)
{
    struct told told;
    (void)state;
    attach();
    struct opener_request *request = ask(&told);
    struct opener_order order = next_order();
    unsigned before = count_descriptors();
    answer(order.id, 0, -1);
    answer(order.id, ENOENT, opener);
    assert_true(datagram_send(opener, "garbage", 7, opener, 0));
    for (int i = 0; i < 3; i++)
        turn();
    assert_int_equal(told.times, 0);
    assert_int_equal(count_descriptors(), before);
    answer(order.id, ENOENT, -1);
    turn();
    assert_int_equal(told.times, 1);
    (void)request;
}

static void test_value_that_no_order_has_is_refused_at_once(void **state)
{
    static char longer[OPENER_LOGIN_LIMIT + 2];
    struct told told = {0};
    struct opener_session session = nobody;
    (void)state;
    attach();
    memset(longer, 'x', sizeof longer - 1);
    const char *const bad[] = {longer, "a\nb", "\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        session.login = bad[i];
        assert_null(opener_open(client, &session, on_opened, &told));
        assert_int_equal(errno, EINVAL);
    }
    turn();
    assert_int_equal(told.times, 0);
}

/* An opener that reads nothing: what does not fit waits, and is asked when it does. */
static void test_full_opener_loses_nothing(void **state)
{
    enum { REQUESTS = 2000 };
    static struct told told[REQUESTS];
    unsigned answered = 0;
    (void)state;
    attach();
    for (int i = 0; i < REQUESTS; i++)
        ask(&told[i]);
    while (answered < REQUESTS) {
        struct opener_order order = next_order();
        answer(order.id, ENOENT, -1);
        turn();
        answered++;
    }
    turn();
    for (int i = 0; i < REQUESTS; i++)
        assert_int_equal(told[i].times, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answer_finds_its_request),
        TEST(test_request_waits_for_an_opener),
        TEST(test_request_of_an_opener_that_dies_fails),
        TEST(test_request_of_an_opener_that_is_replaced_fails),
        TEST(test_full_backend_is_asked_again),
        TEST(test_answer_that_nobody_waits_for_is_closed),
        TEST(test_answer_that_contradicts_itself_is_none),
        TEST(test_value_that_no_order_has_is_refused_at_once),
        TEST(test_full_opener_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
