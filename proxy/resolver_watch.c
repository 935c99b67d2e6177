/*
 * Owned by the resolver, on its loop. A server on this host refuses before send() has returned;
 * others are heard later. One that refuses is tried again at each question, at most once in a
 * second, and is taken back unless it refuses again.
 */
#include "proxy/resolver_watch.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"

#define AGAIN_MS      1000u
#define SERVERS_LIMIT 16

struct server {
    struct resolver_watch *watch;
    struct sockaddr_storage address;
    socklen_t length;
    int socket;
    struct event readable;
    bool refuses;
};

struct resolver_watch {
    struct evdns_base *dns;
    resolver_watch_callback *callback;
    void *context;
    uint64_t looked_ms;
    unsigned count, refusing;
    bool told; /* that all of them refuse */
    struct server servers[SERVERS_LIMIT];
};

/* PTR of 127.0.0.1, which every server answers by itself. */
static const char question[] = "\x50\x6f\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                               "\x01"
                               "1\x01"
                               "0\x01"
                               "0\x03"
                               "127\x07"
                               "in-addr\x04"
                               "arpa\x00\x00\x0c\x00\x01";

/* The errors of a send or receive that the network has answered; a full queue is none. */
static bool is_refusal(ssize_t result)
{
    return result < 0 && (errno == ECONNREFUSED || errno == EHOSTUNREACH ||
                          errno == ENETUNREACH || errno == EACCES || errno == EPERM);
}

/* Takes what has come, answers or a refusal. */
static bool hears_refusal(const struct server *server)
{
    struct resolver_watch *watch = server->watch;
    char answer[512];
    ssize_t got;
    while ((got = recv(server->socket, answer, sizeof answer, MSG_DONTWAIT)) >= 0) {
        if (watch->told)
            log_notice("DNS: name servers answer again");
        watch->told = false;
    }
    return is_refusal(got);
}

/* Once, until one has answered. */
static void tell(struct resolver_watch *watch)
{
    if (!watch->told)
        log_warning("DNS: the name servers refuse to be asked; clients have no names");
    watch->told = true;
}

static void mark(struct server *server, bool refuses)
{
    if (server->refuses == refuses)
        return;
    server->refuses = refuses;
    server->watch->refusing += refuses ? 1 : -1u;
}

/* Where all refuse evdns keeps what it has, as it takes no questions without a server. What is
 * under way goes to the others. */
static void give_servers(const struct resolver_watch *watch)
{
    if (watch->refusing == watch->count ||
        evdns_base_clear_nameservers_and_suspend(watch->dns) != 0)
        return;
    for (unsigned i = 0; i < watch->count; i++) {
        const struct server *each = &watch->servers[i];
        if (!each->refuses &&
            evdns_base_nameserver_sockaddr_add(
                watch->dns, (const struct sockaddr *)&each->address, each->length, 0) != 0)
            log_warning("DNS: a name server cannot be used again");
    }
    if (evdns_base_resume(watch->dns) != 0)
        log_warning("DNS: name servers cannot be used again");
}

static void on_readable(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct server *server = argument;
    struct resolver_watch *watch = server->watch;
    unsigned before = watch->refusing;
    if (hears_refusal(server))
        mark(server, true);
    if (watch->refusing == before)
        return;
    give_servers(watch);
    if (watch->refusing < watch->count)
        return;
    tell(watch);
    watch->callback(watch->context);
}

static void look(struct server *server)
{
    (void)hears_refusal(server); /* of the last time */
    ssize_t sent = send(server->socket, question, sizeof question - 1, MSG_DONTWAIT);
    mark(server, is_refusal(sent) || hears_refusal(server));
}

bool resolver_watch_may_ask(struct resolver_watch *watch)
{
    uint64_t now_ms = clock_now_ms();
    unsigned before = watch->refusing;
    if (now_ms - watch->looked_ms >= AGAIN_MS) {
        watch->looked_ms = now_ms;
        for (unsigned i = 0; i < watch->count; i++)
            look(&watch->servers[i]);
    }
    if (watch->refusing != before)
        give_servers(watch);
    if (watch->refusing == watch->count)
        tell(watch);
    return watch->refusing < watch->count;
}

static bool add_server(struct resolver_watch *watch, struct event_base *base, int index)
{
    struct server *server = &watch->servers[watch->count];
    struct sockaddr *address = (struct sockaddr *)&server->address;
    int length =
        evdns_base_get_nameserver_addr(watch->dns, index, address, sizeof server->address);
    if (length <= 0)
        return true;
    server->watch = watch;
    server->length = (socklen_t)length;
    server->socket = socket(address->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->socket < 0)
        return false;
    watch->count++;
    event_assign(&server->readable, base, server->socket, EV_READ | EV_PERSIST, on_readable,
                 server);
    event_add(&server->readable, NULL);
    /* One that cannot be reached now may be later; send() tells. */
    (void)!connect(server->socket, address, server->length);
    return true;
}

struct resolver_watch *resolver_watch_new(struct event_base *base, struct evdns_base *dns,
                                          resolver_watch_callback *callback, void *context)
{
    struct resolver_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->dns = dns;
    watch->callback = callback;
    watch->context = context;
    int count = evdns_base_count_nameservers(dns);
    for (int i = 0; i < count && i < SERVERS_LIMIT; i++) {
        if (add_server(watch, base, i))
            continue;
        resolver_watch_free(watch);
        return NULL;
    }
    return watch;
}

void resolver_watch_free(struct resolver_watch *watch)
{
    for (unsigned i = 0; watch && i < watch->count; i++) {
        event_del(&watch->servers[i].readable);
        close(watch->servers[i].socket);
    }
    free(watch);
}
