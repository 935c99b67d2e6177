/* Called by backend.c for each session and probe; waits for nothing. */
#include "proxy/backend_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/opener_settings.h"

/* Small commands must not wait for acknowledgements of earlier ones, so no Nagle. */
static int connect_tcp(const struct address *address)
{
    static const int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, &address->any, address->length) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A program cannot be started without a client: a probe gives these values instead. */
static struct opener_session stand_in(const struct service *service)
{
    static struct address here = {.length = sizeof here.v4, .v4.sin_family = AF_INET};
    here.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return (struct opener_session){
        .client = &here,
        .local = &here,
        .login = "postern-probe",
        .mechanism = "PLAIN",
        .helo = service->config->hostname,
        .esmtp = true,
        .probe = true,
    };
}

static struct opener_session session_of(const struct identity *identity)
{
    return (struct opener_session){
        .client = identity->client,
        .local = identity->local,
        .login = identity->login,
        .mechanism = identity->mechanism,
        .helo = identity->helo,
        .host = identity->name,
        .esmtp = identity->esmtp,
        .tls = identity->tls_version,
    };
}

int backend_socket_open(struct service *service, const struct config_backend *config,
                        const struct identity *identity, opener_callback *callback,
                        void *context, struct opener_request **request)
{
    enum opener_way way = opener_way(config);
    *request = NULL;
    if (way == OPENER_NONE || (way == OPENER_TRANSPARENT && !identity))
        return connect_tcp(&config->address);
    struct opener_session session = identity ? session_of(identity) : stand_in(service);
    session.backend = (unsigned)(config - service->config->backends);
    *request = opener_open(service->opener, &session, callback, context);
    return -1;
}
