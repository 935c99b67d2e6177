/* Called by the opener for each order; neither function waits. */
#include "proxy/opener_socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* Closes it and returns -1; errno stays. */
static int give_up(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A unix socket's connect() does not wait: it succeeds, or the queue is full, or nobody is
 * there. */
int opener_socket_unix(const struct address *backend)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    return connect(fd, &backend->any, backend->length) < 0 ? give_up(fd) : fd;
}

static bool set_option(int fd, int level, int option)
{
    static const int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

static bool set_options(int fd, int family)
{
    bool transparent = family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT)
                                          : set_option(fd, IPPROTO_IP, IP_TRANSPARENT);
    return transparent && set_option(fd, SOL_SOCKET, SO_REUSEADDR) &&
           set_option(fd, IPPROTO_TCP, TCP_NODELAY);
}

static void set_port(struct address *address, in_port_t port)
{
    if (address->any.sa_family == AF_INET6)
        address->v6.sin6_port = port;
    else
        address->v4.sin_port = port;
}

/* Without a port the kernel chooses at connect(), where it knows the other three numbers. */
static bool bind_without_port(int fd, struct address *client)
{
    set_port(client, 0);
    return set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT) &&
           bind(fd, &client->any, client->length) == 0;
}

static int connect_from(const struct address *backend, struct address *client, bool own_port)
{
    int fd = socket(backend->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool bound = set_options(fd, backend->any.sa_family) &&
                 (own_port ? bind(fd, &client->any, client->length) == 0
                           : bind_without_port(fd, client));
    if (!bound || (connect(fd, &backend->any, backend->length) < 0 && errno != EINPROGRESS))
        return give_up(fd);
    return fd;
}

int opener_socket_transparent(const struct address *backend, const struct address *client)
{
    struct address from = *client, to = *backend;
    address_normalise(&from);
    address_normalise(&to);
    if (from.length == 0 || from.any.sa_family != to.any.sa_family) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    int fd = connect_from(&to, &from, true);
    bool taken = fd < 0 && (errno == EADDRINUSE || errno == EADDRNOTAVAIL);
    return taken ? connect_from(&to, &from, false) : fd;
}
