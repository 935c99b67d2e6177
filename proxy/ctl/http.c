/*
 * A client that asks once and reads to the end. Says in plain words why nobody answers: most of
 * the time Postern does not run, or the user is not in the socket's group.
 */
#include "proxy/ctl/http.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_LIMIT ((size_t)64 * 1024 * 1024)
/* A reload may take that long. */
#define PATIENCE_S 75

static void explain_permission(const char *path)
{
    struct stat status;
    const struct group *group = stat(path, &status) == 0 ? getgrgid(status.st_gid) : NULL;
    if (group && status.st_gid != 0)
        fprintf(
            stderr,
            "posternctl: %s: permission denied: it is for root and for members of the group "
            "\"%s\"\n",
            path, group->gr_name);
    else
        fprintf(stderr, "posternctl: %s: permission denied: it is for root\n", path);
}

static bool is_something_else(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISSOCK(status.st_mode);
}

static void explain(const char *path, int error)
{
    if (is_something_else(path))
        fprintf(stderr, "posternctl: %s is no socket\n", path);
    else if (error == EACCES || error == EPERM)
        explain_permission(path);
    else if (error == ENOENT)
        fprintf(stderr,
                "posternctl: there is no %s: is Postern running, and is this the socket of "
                "section \"admin\" in its configuration?\n",
                path);
    else if (error == ECONNREFUSED)
        fprintf(stderr, "posternctl: nothing listens at %s: Postern is not running\n", path);
    else
        fprintf(stderr, "posternctl: %s: %s\n", path, strerror(error));
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {PATIENCE_S, 0};
    int fd = -1, error = ENAMETOOLONG;
    if (strlen(path) < sizeof address.sun_path) {
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        error = errno;
    }
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(fd, (const struct sockaddr *)(const void *)&address, sizeof address) == 0)
            return fd;
        error = errno;
        close(fd);
    }
    explain(path, error);
    return -1;
}

static int send_request(int fd, const char *method, const char *target)
{
    char *text;
    int length = asprintf(&text,
                          "%s %s HTTP/1.1\r\nHost: postern\r\nConnection: close\r\n"
                          "Content-Length: 0\r\n\r\n",
                          method, target);
    if (length < 0)
        return 0;
    int sent = send(fd, text, (size_t)length, MSG_NOSIGNAL) == length;
    free(text);
    return sent;
}

/* NULL: it did not come to its end, or there is too much of it. */
static char *receive(int fd, size_t *length)
{
    size_t room = 16384;
    char *text = malloc(room);
    *length = 0;
    while (text) {
        ssize_t got = recv(fd, text + *length, room - *length - 1, 0);
        if (got == 0) {
            text[*length] = '\0';
            return text;
        }
        *length += got > 0 ? (size_t)got : 0;
        bool full = room - *length <= 1;
        if ((got < 0 && errno != EINTR) || (full && room >= ANSWER_LIMIT))
            break;
        char *grown = full ? realloc(text, room *= 2) : text;
        if (!grown)
            break;
        text = grown;
    }
    free(text);
    return NULL;
}

/* "HTTP/1.1 200 OK": takes the head away. */
static void take_head(struct ctl_reply *reply)
{
    char *body = strstr(reply->text, "\r\n\r\n");
    if (!body || sscanf(reply->text, "HTTP/1.%*1d %3d ", &reply->status) != 1) {
        reply->status = 0;
        return;
    }
    body += 4;
    reply->length -= (size_t)(body - reply->text);
    memmove(reply->text, body, reply->length + 1);
}

struct ctl_reply ctl_request(const char *socket_path, const char *method, const char *target)
{
    struct ctl_reply reply = {0};
    int fd = open_socket(socket_path);
    if (fd < 0)
        return reply;
    if (send_request(fd, method, target))
        reply.text = receive(fd, &reply.length);
    close(fd);
    if (reply.text)
        take_head(&reply);
    if (reply.status == 0)
        fprintf(stderr, "posternctl: %s: no answer that can be read\n", socket_path);
    return reply;
}

int ctl_target_add(char *target, size_t size, const char *name, const char *value)
{
    size_t length = strlen(target);
    int written = snprintf(target + length, size - length,
                           "%c%s=", strchr(target, '?') ? '&' : '?', name);
    if (written < 0 || (size_t)written >= size - length)
        return 0;
    length += (size_t)written;
    for (; *value; value++, length += 3) {
        if (length + 4 > size)
            return 0;
        snprintf(target + length, 4, "%%%02X", (unsigned char)*value);
    }
    return 1;
}
