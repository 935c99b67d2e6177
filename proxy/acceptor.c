/*
 * accept4() and the limits. One connection in each turn: the loop comes back as long as more
 * are waiting, and asks nobody twice. Without descriptors, the oldest unauthenticated
 * connection gives its own; where nobody can, the socket rests for a moment instead of
 * spinning.
 */
#include "proxy/acceptor.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/abuse.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/connections.h"
#include "proxy/failures.h"
#include "proxy/permits.h"
#include "proxy/room.h"
#include "proxy/session.h"
#include "proxy/statistics.h"

#define REST_MS       250
#define TELL_AGAIN_MS 1000u /* that accept4() fails */

struct acceptor {
    struct service *service;
    struct door *door;
    int fd;
    uint64_t told_ms; /* when the log last heard that accept4() fails */
    struct event readable, rested;
};

/* In plaintext the refusal can be read; a client that expects TLS sees the connection close. */
static void refuse(const struct acceptor *acceptor, int fd, const struct address *client,
                   enum reply reply, enum statistics_limit limit, const char *cause)
{
    const struct reply_text *text = reply_text(reply);
    struct log_record record;
    char host[ADDRESS_HOST_SIZE];

    if (door_listen(acceptor->door)->tls == CONFIG_TLS_STARTTLS)
        (void)!send(fd, text->text, text->length, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
    statistics_add(&statistics->limits[limit], 1);
    address_host(client, host);
    log_begin(&record, LOG_LEVEL_INFO, "connection refused");
    log_text(&record, "listener", door_listen(acceptor->door)->name);
    log_text(&record, "client", host);
    log_text(&record, "cause", cause);
    log_end(&record);
    failures_note(FAILURE_CONNECTION, door_listen(acceptor->door)->name, host, NULL, cause);
}

static bool has_its_share(const struct service *service, struct abuse_client client)
{
    unsigned limit = service->config->limits.connections_per_address;
    return limit > 0 && !client.is_exempt &&
           connections_count_from(service->connections, client.address) >= limit;
}

static void take(struct acceptor *acceptor, int fd, const struct address *client)
{
    struct service *service = acceptor->service;
    bool is_balanced = door_is_balanced(acceptor->door, client);
    struct abuse_client counted = abuse_peer(service->abuse, client);

    if (service->refusing)
        refuse(acceptor, fd, client, REPLY_DRAINING, STATISTICS_LIMIT_DRAINING, "draining");
    else if (permits_find(service->permits, PERMIT_DENY, client, clock_now_ms(), NULL))
        refuse(acceptor, fd, client, REPLY_ADDRESS_DENIED, STATISTICS_LIMIT_DENIED, "denied");
    else if (!is_balanced && has_its_share(service, counted))
        refuse(acceptor, fd, client, REPLY_ADDRESS_FULL, STATISTICS_LIMIT_PER_ADDRESS,
               "too many connections from this address");
    else if (!is_balanced && !abuse_admit_connection(service->abuse, counted))
        refuse(acceptor, fd, client, REPLY_ADDRESS_BUSY, STATISTICS_LIMIT_PER_MINUTE,
               "too many connections from this address in a minute");
    else if (connections_count(service->connections) >= service->config->limits.connections &&
             !room_make(service))
        refuse(acceptor, fd, client, REPLY_FULL, STATISTICS_LIMIT_CONNECTIONS,
               "too many connections");
    else
        session_begin(service, acceptor->door, fd, counted);
}

static void rest(struct acceptor *acceptor)
{
    struct timeval wait = {0, REST_MS * 1000};
    event_del(&acceptor->readable);
    evtimer_add(&acceptor->rested, &wait);
}

/* Room is made for many newcomers in a second. */
static void tell_failure(struct acceptor *acceptor, int error)
{
    uint64_t now_ms = clock_now_ms();
    if (now_ms - acceptor->told_ms < TELL_AGAIN_MS)
        return;
    acceptor->told_ms = now_ms;
    log_warning("listen \"%s\": cannot accept: %s", door_listen(acceptor->door)->name,
                strerrordesc_np(error));
}

static void accept_failed(struct acceptor *acceptor, int error)
{
    bool lacks_memory = error == ENOBUFS || error == ENOMEM;
    if (!room_is_lacking(error) && !lacks_memory)
        return;
    tell_failure(acceptor, error);
    if (!room_free_descriptor(acceptor->service) || lacks_memory)
        rest(acceptor);
}

static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    struct acceptor *acceptor = argument;
    struct address client = {0};
    socklen_t length = sizeof client - offsetof(struct address, any);

    int accepted = accept4(fd, &client.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) {
        accept_failed(acceptor, errno);
        return;
    }
    client.length = length;
    address_normalise(&client);
    take(acceptor, accepted, &client);
}

static void on_rested(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct acceptor *acceptor = argument;
    event_add(&acceptor->readable, NULL);
}

struct acceptor *acceptor_new(struct service *service, struct door *door, int fd)
{
    struct acceptor *acceptor = calloc(1, sizeof *acceptor);
    if (!acceptor)
        return NULL;
    acceptor->service = service;
    acceptor->door = door;
    acceptor->fd = fd;
    event_assign(&acceptor->readable, service->base, fd, EV_READ | EV_PERSIST, on_readable,
                 acceptor);
    evtimer_assign(&acceptor->rested, service->base, on_rested, acceptor);
    return acceptor;
}

void acceptor_begin(struct acceptor *acceptor)
{
    event_add(&acceptor->readable, NULL);
}

void acceptor_free(struct acceptor *acceptor)
{
    if (!acceptor)
        return;
    event_del(&acceptor->readable);
    event_del(&acceptor->rested);
    close(acceptor->fd);
    free(acceptor);
}
