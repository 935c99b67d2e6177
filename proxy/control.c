/* Datagrams between master and reactor. Both sides call it; it keeps no state and never blocks.
 */
#include "proxy/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union descriptor_room {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool control_pair(int pair[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0;
}

bool control_send(int fd, const struct control_message *message, int descriptor)
{
    struct iovec piece = {(void *)(uintptr_t)message, sizeof *message};
    union descriptor_room room = {0};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};

    if (descriptor >= 0) {
        header.msg_control = room.bytes;
        header.msg_controllen = sizeof room.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof *message;
}

static int take_descriptor(struct msghdr *header)
{
    int descriptor = -1;
    struct cmsghdr *each = CMSG_FIRSTHDR(header);
    if (each && each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS &&
        each->cmsg_len == CMSG_LEN(sizeof descriptor))
        memcpy(&descriptor, CMSG_DATA(each), sizeof descriptor);
    return descriptor;
}

enum control_status control_receive(int fd, struct control_message *message, int *descriptor)
{
    struct iovec piece = {message, sizeof *message};
    union descriptor_room room = {0};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = sizeof room.bytes};

    *descriptor = -1;
    ssize_t got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? CONTROL_AGAIN : CONTROL_CLOSED;
    if (got == 0)
        return CONTROL_CLOSED;

    *descriptor = take_descriptor(&header);
    if (got == (ssize_t)sizeof *message && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
        message->type < CONTROL_TYPE_COUNT)
        return CONTROL_OK;
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
    return CONTROL_BROKEN;
}
