/*
 * One socket for the whole process. A datagram names /dev/log each time, so that another server
 * there gets the next one; a stream is connected again when it has ended.
 */
#include "proxy/base/log_syslog.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HEADER_SIZE (LOG_SYSLOG_NAME_LIMIT + 64)

static const struct sockaddr_un server = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int fd = -1;
static bool is_stream; /* what the server has wanted the last time */

static void close_socket(void)
{
    int error = errno;
    if (fd >= 0)
        close(fd);
    fd = -1;
    errno = error;
}

/* A stream whose server does not accept any more is EAGAIN at once. */
static bool open_socket(void)
{
    int type = is_stream ? SOCK_STREAM : SOCK_DGRAM;
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && is_stream &&
        connect(fd, (const struct sockaddr *)&server, sizeof server) < 0)
        close_socket();
    return fd >= 0;
}

static bool is_full(int error)
{
    return error == EAGAIN || error == ENOBUFS || error == EMSGSIZE;
}

/* The last part is a NUL, which ends a message in a stream. */
static bool send_once(struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = is_stream ? count : count - 1};
    size_t whole = 0;
    if (fd < 0 && !open_socket())
        return false;
    if (!is_stream) {
        message.msg_name = (void *)(uintptr_t)&server;
        message.msg_namelen = sizeof server;
    }
    for (size_t i = 0; i < message.msg_iovlen; i++)
        whole += parts[i].iov_len;
    ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == (ssize_t)whole)
        return true;
    if (sent >= 0)
        errno = EAGAIN; /* a part of a message ends with its stream */
    if (sent >= 0 || !is_full(errno))
        close_socket();
    return false;
}

static bool send_or_try_again(struct iovec *parts, size_t count)
{
    bool was_open = is_stream && fd >= 0;
    if (send_once(parts, count))
        return true;
    if (errno == EPROTOTYPE)
        is_stream = !is_stream;
    else if (!was_open || is_full(errno))
        return false;
    return send_once(parts, count);
}

/* "<22>Nov 23 14:05:09 postern[81]: ", with the local time. */
static size_t write_header(char out[static HEADER_SIZE], int priority, const char *name,
                           bool with_pid)
{
    char when[32] = "", number[16] = "";
    struct tm local;
    time_t now = time(NULL);
    if (localtime_r(&now, &local))
        strftime(when, sizeof when, "%b %e %T ", &local);
    if (with_pid)
        snprintf(number, sizeof number, "[%d]", (int)getpid());
    int length = snprintf(out, HEADER_SIZE, "<%d>%s%.*s%s: ", priority, when,
                          LOG_SYSLOG_NAME_LIMIT, name, number);
    return length > 0 ? (size_t)length : 0;
}

bool log_syslog_send(int priority, const char *name, bool with_pid, const char *text,
                     size_t length)
{
    char header[HEADER_SIZE], end[] = "";
    struct iovec parts[] = {{header, write_header(header, priority, name, with_pid)},
                            {(void *)(uintptr_t)text, length},
                            {end, sizeof end}};
    pthread_mutex_lock(&lock);
    bool sent = send_or_try_again(parts, sizeof parts / sizeof parts[0]);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return sent;
}

void log_syslog_close(void)
{
    pthread_mutex_lock(&lock);
    close_socket();
    pthread_mutex_unlock(&lock);
}
