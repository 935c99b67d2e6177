/*
 * The sockets of the former program's reactors. The master keeps a copy of the end on which a
 * reactor is asked: whoever asks sees that end closed only when the reactor's process has
 * ended, and not when it has merely not understood the question.
 */
#include "proxy/former.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/generation.h"

/* What the words name may be anything. */
bool former_is_control(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return fd > STDERR_FILENO && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           type == SOCK_SEQPACKET && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

bool former_take(struct former *former, const char *words)
{
    int pid, control;
    unsigned version;
    int found = sscanf(words, "%d %d %u", &pid, &control, &version);
    if (found < 1)
        return false;
    *former = (struct former){.pid = pid, .control = -1, .asked = -1};
    if (found < 3 || !former_is_control(control))
        return true;
    if (version == CONTROL_VERSION)
        former->control = control;
    else
        close(control);
    return true;
}

void former_introduce(struct former *former, const struct generation *in_charge)
{
    int pair[2];
    struct control_message message = {.type = CONTROL_ASKED};
    if (!control_pair(pair)) {
        log_warning("reactor %d of the former program cannot be asked: %s", (int)former->pid,
                    strerrordesc_np(errno));
        return;
    }
    generation_add_peer(in_charge, pair[0]);
    if (former->control < 0 || !control_send(former->control, &message, pair[1]))
        log_warning("reactor %d of the former program cannot be asked about its sessions",
                    (int)former->pid);
    close(pair[0]);
    if (former->asked >= 0)
        close(former->asked);
    former->asked = pair[1];
}

void former_tell(const struct former *former, enum control_type type, uint32_t number)
{
    struct control_message message = {.type = type, .number = number};
    if (former->control >= 0 && !control_send(former->control, &message, -1))
        log_warning("cannot send a message to reactor %d of the former program: %s",
                    (int)former->pid, strerrordesc_np(errno));
}

void former_close(struct former *former)
{
    if (former->control >= 0)
        close(former->control);
    if (former->asked >= 0)
        close(former->asked);
    former->control = former->asked = -1;
}
