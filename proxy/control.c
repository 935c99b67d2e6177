/* Datagrams between master and reactor. Both sides call it; it keeps no state and never blocks.
 */
#include "proxy/control.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/datagram.h"

bool control_pair(int pair[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0;
}

bool control_send(int fd, const struct control_message *message, int descriptor)
{
    return datagram_send(fd, message, sizeof *message, descriptor, MSG_DONTWAIT);
}

enum control_status control_receive(int fd, struct control_message *message, int *descriptor)
{
    ssize_t got = datagram_receive(fd, message, sizeof *message, descriptor);
    bool is_lost = *descriptor == DATAGRAM_DESCRIPTOR_LOST;
    if (got == (ssize_t)sizeof *message && message->type < CONTROL_TYPE_COUNT && !is_lost)
        return CONTROL_OK;
    if (got < 0 && errno == EAGAIN)
        return CONTROL_AGAIN;
    if (got == 0 || (got < 0 && errno != EMSGSIZE))
        return CONTROL_CLOSED;
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
    return CONTROL_BROKEN;
}
