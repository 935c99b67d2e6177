/*
 * accept4() and the limits. One connection in each turn: the loop comes back as long as more
 * are waiting, and asks nobody twice. Without descriptors, the oldest unauthenticated
 * connection gives its own, and the socket rests for a moment instead of spinning.
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
#include "proxy/session.h"
#include "proxy/statistics.h"

#define REST_MS 250

struct acceptor {
    struct service *service;
    struct door *door;
    int fd;
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

/* Whose message may have been accepted would send it again. */
static bool is_spared(struct connection *connection)
{
    return session_awaits_verdict(session_of(connection));
}

static bool make_room(struct service *service)
{
    struct connection *oldest = connections_oldest(service->connections, is_spared);
    if (!oldest)
        return false;
    statistics_add(&statistics->limits[STATISTICS_LIMIT_GAVE_WAY], 1);
    session_abort(session_of(oldest), REPLY_GIVE_WAY, "gave way to a new connection");
    return true;
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
             !make_room(service))
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

static void accept_failed(struct acceptor *acceptor, int error)
{
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
        return;
    log_warning("listen \"%s\": cannot accept: %s", door_listen(acceptor->door)->name,
                strerrordesc_np(error));
    make_room(acceptor->service);
    rest(acceptor); /* the descriptor comes free when the other side has read its 421 */
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
