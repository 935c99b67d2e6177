/* Threat 22: descriptors that come with a message are one, or none is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/datagram.h"

static int pair[2];

static int open_pair(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int close_pair(void **state)
{
    (void)state;
    return close(pair[0]) | close(pair[1]);
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

/* What our own sender never does. */
static void send_descriptors(size_t count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } room = {0};
    char text[] = "text";
    struct iovec piece = {text, sizeof text};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    int descriptors[8] = {0};
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(rights), descriptors, count * sizeof(int));
    assert_int_equal(sendmsg(pair[0], &header, 0), sizeof text);
}

static void test_message_and_descriptor_arrive(void **state)
{
    char got[8];
    int descriptor;
    (void)state;
    assert_true(datagram_send(pair[0], "hello", 5, pair[0], 0));
    assert_int_equal(datagram_receive(pair[1], got, sizeof got, &descriptor), 5);
    assert_memory_equal(got, "hello", 5);
    assert_true(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
    close(descriptor);

    assert_true(datagram_send(pair[0], "hello", 5, -1, 0));
    assert_int_equal(datagram_receive(pair[1], got, sizeof got, &descriptor), 5);
    assert_int_equal(descriptor, -1);
}

static void test_more_descriptors_than_one_are_none(void **state)
{
    char got[8];
    int descriptor;
    unsigned before = count_descriptors();
    (void)state;
    for (size_t count = 2; count <= 8; count++) {
        send_descriptors(count);
        assert_int_equal(datagram_receive(pair[1], got, sizeof got, &descriptor), -1);
        assert_int_equal(errno, EMSGSIZE);
        assert_int_equal(descriptor, -1);
    }
    assert_int_equal(count_descriptors(), before);
}

static void test_message_that_is_too_long_brings_no_descriptor(void **state)
{
    char got[4];
    int descriptor;
    unsigned before = count_descriptors();
    (void)state;
    assert_true(datagram_send(pair[0], "hello", 5, pair[0], 0));
    assert_int_equal(datagram_receive(pair[1], got, sizeof got, &descriptor), -1);
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(descriptor, -1);
    assert_int_equal(count_descriptors(), before);
}

static void test_nothing_there_is_told_from_nobody_there(void **state)
{
    char got[8];
    int descriptor;
    (void)state;
    assert_int_equal(datagram_receive(pair[1], got, sizeof got, &descriptor), -1);
    assert_int_equal(errno, EAGAIN);
    shutdown(pair[0], SHUT_RDWR);
    assert_int_equal(datagram_receive(pair[1], got, sizeof got, &descriptor), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_message_and_descriptor_arrive, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(test_more_descriptors_than_one_are_none, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(test_message_that_is_too_long_brings_no_descriptor,
                                        open_pair, close_pair),
        cmocka_unit_test_setup_teardown(test_nothing_there_is_told_from_nobody_there, open_pair,
                                        close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
