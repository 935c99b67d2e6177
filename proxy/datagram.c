/* sendmsg() and recvmsg() with SCM_RIGHTS, for control.c and the opener's two sides. */
#include "proxy/datagram.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union descriptor_room {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool datagram_send(int socket, const void *bytes, size_t length, int descriptor, int flags)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, length};
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
    return sendmsg(socket, &header, flags | MSG_NOSIGNAL) == (ssize_t)length;
}

/* The room is aligned, so that a second descriptor may have come: then none is kept. */
static int take_descriptor(struct msghdr *header, bool *too_many)
{
    int descriptors[sizeof(union descriptor_room) / sizeof(int)];
    const struct cmsghdr *each = CMSG_FIRSTHDR(header);
    if (!each && header->msg_flags & MSG_CTRUNC)
        return DATAGRAM_DESCRIPTOR_LOST;
    *too_many = header->msg_flags & MSG_CTRUNC;
    if (!each || each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
        return -1;
    size_t size = each->cmsg_len - CMSG_LEN(0), count = size / sizeof(int);
    memcpy(descriptors, CMSG_DATA(each), size);
    *too_many |= count > 1;
    for (size_t i = 0; *too_many && i < count; i++)
        close(descriptors[i]);
    return *too_many || count == 0 ? -1 : descriptors[0];
}

ssize_t datagram_receive(int socket, void *bytes, size_t size, int *descriptor)
{
    struct iovec piece = {bytes, size};
    union descriptor_room room = {0};
    struct msghdr header = {.msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = sizeof room.bytes};
    bool too_many = false;

    *descriptor = -1;
    ssize_t got = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR)
        errno = EAGAIN;
    if (got < 0)
        return errno == ECONNRESET ? 0 : -1;

    *descriptor = take_descriptor(&header, &too_many);
    if (!too_many && !(header.msg_flags & MSG_TRUNC))
        return got;
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
    errno = EMSGSIZE;
    return -1;
}
