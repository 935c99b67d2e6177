/* Non-blocking writes for the log. Called by log.c and log_file.c only. */
#include "proxy/base/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NOTHING_BORROWED (-1)

static int borrowed_flags = NOTHING_BORROWED; /* standard error's, before ours */
static enum { UNKNOWN, SOCKET, OTHER } stderr_kind;
static bool torn; /* the last line was written in part: the next begins a new one */

/* A FIFO without a reader cannot be opened for writing alone (ENXIO). With both ends open,
 * lines wait in it for a reader. */
static int open_without_waiting(const char *path, int flags)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | flags, 0640);
    if (fd < 0 && errno == ENXIO)
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | (flags & ~O_CREAT));
    return fd;
}

int log_output_open(const char *path)
{
    return open_without_waiting(path, O_APPEND | O_CREAT);
}

/* Can writing there wait for somebody? Sockets are told with each line that it must not. */
static bool may_wait(void)
{
    struct stat status;
    if (fstat(STDERR_FILENO, &status) < 0)
        return false;
    stderr_kind = S_ISSOCK(status.st_mode) ? SOCKET : OTHER;
    return S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode);
}

void log_output_take_stderr(void)
{
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (flags < 0 || !may_wait() || flags & O_NONBLOCK)
        return;
    int fd = open_without_waiting("/proc/self/fd/2", 0);
    if (fd >= 0) {
        (void)dup2(fd, STDERR_FILENO);
        close(fd);
    } else if (fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK) == 0) {
        borrowed_flags = flags;
    }
}

void log_output_give_back(void)
{
    if (borrowed_flags != NOTHING_BORROWED)
        (void)fcntl(STDERR_FILENO, F_SETFL, borrowed_flags);
    borrowed_flags = NOTHING_BORROWED;
}

static bool is_socket(int fd)
{
    if (fd == STDERR_FILENO && stderr_kind == UNKNOWN)
        (void)may_wait();
    return fd == STDERR_FILENO && stderr_kind == SOCKET;
}

bool log_output_write(int fd, const char *line, size_t length)
{
    struct iovec parts[] = {{(void *)(uintptr_t) "\n", torn ? 1 : 0},
                            {(void *)(uintptr_t)line, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t written, whole = (ssize_t)(length + parts[0].iov_len);
    bool socket = is_socket(fd);
    do {
        if (socket)
            written = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (torn)
            written = writev(fd, parts, 2);
        else
            written = write(fd, line, length);
    } while (written < 0 && errno == EINTR);
    if (written > 0)
        torn = written < whole;
    return written == whole;
}
