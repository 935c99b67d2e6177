/*
 * A mail server that accepts everything and keeps nothing: the backend of a benchmark when
 * Postfix's smtp-sink would be its bottleneck, and the one that takes every XCLIENT attribute,
 * as a real Postfix does (and answers it, like Postfix, with a new greeting). One thread,
 * epoll. Usage: sink ADDRESS PORT
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING "220 sink.example.org ESMTP\r\n"
#define DATA_END "\r\n.\r\n"

enum { LINE_LIMIT = 1024, CARRY = sizeof(DATA_END) - 2, INPUT = 256 * 1024, EVENTS = 256 };

struct connection {
    int fd;
    bool in_data, closing;
    unsigned line_size, carry_size;
    char line[LINE_LIMIT];
    char carry[CARRY]; /* the last bytes of the message so far */
};

static const struct reply {
    const char *verb, *text;
} replies[] = {
    {"EHLO", "250-sink.example.org\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n"
             "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n"
             "250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"},
    {"HELO", "250 sink.example.org\r\n"},
    {"XCLIENT", GREETING},
    {"MAIL", "250 2.1.0 Ok\r\n"},
    {"RCPT", "250 2.1.5 Ok\r\n"},
    {"DATA", "354 End data with <CR><LF>.<CR><LF>\r\n"},
    {"RSET", "250 2.0.0 Ok\r\n"},
    {"NOOP", "250 2.0.0 Ok\r\n"},
    {"QUIT", "221 2.0.0 Bye\r\n"},
};

static bool connection_say(struct connection *connection, const char *text)
{
    size_t size = strlen(text);

    return send(connection->fd, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static const struct reply *reply_to(const char *line)
{
    for (size_t at = 0; at < sizeof(replies) / sizeof(replies[0]); at++)
        if (strncasecmp(line, replies[at].verb, strlen(replies[at].verb)) == 0)
            return &replies[at];
    return NULL;
}

static bool connection_obey(struct connection *connection)
{
    const struct reply *reply;

    connection->line[connection->line_size] = '\0';
    connection->line_size = 0;
    reply = reply_to(connection->line);
    if (!reply)
        return connection_say(connection, "500 5.5.1 Unknown command\r\n");
    if (strcmp(reply->verb, "DATA") == 0) {
        connection->in_data = true;
        connection->carry_size = 2;
        memcpy(connection->carry, "\r\n", 2);
    }
    connection->closing = strcmp(reply->verb, "QUIT") == 0;
    return connection_say(connection, reply->text);
}

/* Takes bytes up to a line's end; `*used` says how many. False: give the connection up. */
static bool connection_take_line(struct connection *connection, const char *bytes, size_t size,
                                 size_t *used)
{
    const char *end = memchr(bytes, '\n', size);

    *used = end ? (size_t)(end - bytes) + 1 : size;
    if (connection->line_size + *used >= LINE_LIMIT)
        return false;
    memcpy(connection->line + connection->line_size, bytes, *used);
    connection->line_size += (unsigned)*used;
    return !end || connection_obey(connection);
}

static void connection_carry(struct connection *connection, const char *bytes, size_t size)
{
    size_t fresh = size < CARRY ? size : CARRY;
    size_t old =
        connection->carry_size < CARRY - fresh ? connection->carry_size : CARRY - fresh;

    memmove(connection->carry, connection->carry + connection->carry_size - old, old);
    memcpy(connection->carry + old, bytes + size - fresh, fresh);
    connection->carry_size = (unsigned)(old + fresh);
}

/* How many of the bytes belong to the message, its end included; `*ended` tells if it is there.
 */
static size_t message_length(const struct connection *connection, const char *bytes,
                             size_t size, bool *ended)
{
    char seam[2 * CARRY];
    size_t fresh = size < CARRY ? size : CARRY;
    const char *end;

    memcpy(seam, connection->carry, connection->carry_size);
    memcpy(seam + connection->carry_size, bytes, fresh);
    end = memmem(seam, connection->carry_size + fresh, DATA_END, sizeof(DATA_END) - 1);
    *ended = true;
    if (end)
        return (size_t)(end - seam) + sizeof(DATA_END) - 1 - connection->carry_size;
    end = memmem(bytes, size, DATA_END, sizeof(DATA_END) - 1);
    if (end)
        return (size_t)(end - bytes) + sizeof(DATA_END) - 1;
    *ended = false;
    return size;
}

static bool connection_swallow(struct connection *connection, const char *bytes, size_t size,
                               size_t *used)
{
    bool ended;

    *used = message_length(connection, bytes, size, &ended);
    if (!ended) {
        connection_carry(connection, bytes, size);
        return true;
    }
    connection->in_data = false;
    return connection_say(connection, "250 2.0.0 Ok\r\n");
}

static bool connection_feed(struct connection *connection, const char *bytes, size_t size)
{
    size_t used;

    for (; size > 0 && !connection->closing; bytes += used, size -= used)
        if (!(connection->in_data ? connection_swallow(connection, bytes, size, &used)
                                  : connection_take_line(connection, bytes, size, &used)))
            return false;
    return !connection->closing;
}

static void connection_event(struct connection *connection)
{
    static char input[INPUT];
    ssize_t size = recv(connection->fd, input, sizeof(input), 0);

    if (size < 0 && errno == EAGAIN)
        return;
    if (size > 0 && connection_feed(connection, input, (size_t)size))
        return;
    close(connection->fd);
    free(connection);
}

static void accept_one(int epoll, int listener)
{
    struct connection *connection;
    struct epoll_event event = {.events = EPOLLIN};
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    connection = calloc(1, sizeof(*connection));
    event.data.ptr = connection;
    if (connection) {
        connection->fd = fd;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
            connection_say(connection, GREETING) &&
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0)
            return;
    }
    free(connection);
    close(fd);
}

static int listen_on(const char *address, const char *port)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int on = 1, fd = -1;

    if (getaddrinfo(address, port, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
         bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 4096) != 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void serve(int epoll, int listener)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int at = 0; at < count; at++) {
            if (events[at].data.ptr)
                connection_event(events[at].data.ptr);
            else
                accept_one(epoll, listener);
        }
    }
}

int main(int argc, char **argv)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int listener = argc == 3 ? listen_on(argv[1], argv[2]) : -1;
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (listener < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        perror("sink: needs an ADDRESS and a PORT to listen on");
        return EXIT_FAILURE;
    }
    serve(epoll, listener);
    return EXIT_SUCCESS;
}
