/*
 * Orders to the opener and its answers. They are few and short-lived, so they stand in a list.
 * An order is kept as it was written, to be sent again: when the opener's queue was full, when
 * the queue of a backend's socket was, or when there was no opener.
 */
#include "proxy/opener_client.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/datagram.h"
#include "proxy/opener_message.h"

/* How long to leave a queue alone that is full. */
#define RETRY_MS 50

struct opener_request {
    LIST_ENTRY(opener_request) link;
    struct opener_client *client;
    struct event retry;
    uint64_t id;
    bool sent; /* and not answered */
    bool lost; /* with the opener that it was sent to */
    opener_callback *callback;
    void *context;
    size_t length;
    char bytes[OPENER_MESSAGE_LIMIT];
};

struct opener_client {
    struct event_base *base;
    int socket; /* -1: there is no opener */
    uint64_t last_id;
    struct event readable;
    LIST_HEAD(, opener_request) requests;
};

static void send_order(struct opener_request *request)
{
    static const struct timeval pause = {0, RETRY_MS * 1000};
    const struct opener_client *client = request->client;
    request->sent = client->socket >= 0 && datagram_send(client->socket, request->bytes,
                                                         request->length, -1, MSG_DONTWAIT);
    if (!request->sent)
        evtimer_add(&request->retry, &pause);
}

static void end_request(struct opener_request *request, int descriptor, int error)
{
    LIST_REMOVE(request, link);
    event_del(&request->retry);
    request->callback(request->context, descriptor, error);
    free(request);
}

static void on_retry(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct opener_request *request = argument;
    if (request->lost)
        end_request(request, -1, ECONNRESET);
    else
        send_order(request);
}

static struct opener_request *find_sent(const struct opener_client *client, uint64_t id)
{
    struct opener_request *request;
    LIST_FOREACH(request, &client->requests, link)
    if (request->id == id && request->sent)
        return request;
    return NULL;
}

/* A full queue is not an outage: a unix socket's connect() would have waited, as TCP's does. */
static void take_answer(struct opener_client *client, const struct opener_answer *answer,
                        int descriptor)
{
    static const struct timeval pause = {0, RETRY_MS * 1000};
    struct opener_request *request = find_sent(client, answer->id);
    int error = descriptor == DATAGRAM_DESCRIPTOR_LOST ? OPENER_NO_ROOM : answer->error;
    if ((error == 0) != (descriptor >= 0)) {
        log_error("the opener's answer contradicts itself");
        request = NULL;
    }
    if (!request) {
        if (descriptor >= 0)
            close(descriptor);
    } else if (error == EAGAIN) {
        request->sent = false;
        evtimer_add(&request->retry, &pause);
    } else {
        end_request(request, descriptor, error);
    }
}

static void drop_socket(struct opener_client *client)
{
    if (client->socket < 0)
        return;
    event_del(&client->readable);
    close(client->socket);
    client->socket = -1;
}

/* What was sent to an opener that is gone fails, in a turn of its own. */
static void lose_sent(struct opener_client *client)
{
    struct opener_request *request;
    LIST_FOREACH(request, &client->requests, link)
    {
        if (!request->sent)
            continue;
        request->sent = false;
        request->lost = true;
        event_active(&request->retry, EV_TIMEOUT, 0);
    }
}

static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    struct opener_client *client = argument;
    struct opener_answer answer;
    char bytes[OPENER_MESSAGE_LIMIT];
    int descriptor;

    ssize_t got = datagram_receive(fd, bytes, sizeof bytes, &descriptor);
    if (got > 0 && opener_message_read_answer(bytes, (size_t)got, &answer)) {
        take_answer(client, &answer, descriptor);
    } else if (got == 0) {
        drop_socket(client);
        lose_sent(client);
    } else if (got > 0 || errno != EAGAIN) {
        log_error("malformed answer from the opener");
        if (descriptor >= 0)
            close(descriptor);
    }
}

struct opener_client *opener_client_new(struct event_base *base)
{
    struct opener_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->base = base;
    client->socket = -1;
    LIST_INIT(&client->requests);
    return client;
}

void opener_client_free(struct opener_client *client)
{
    if (!client)
        return;
    drop_socket(client);
    free(client);
}

void opener_client_attach(struct opener_client *client, int socket)
{
    drop_socket(client);
    lose_sent(client);
    client->socket = socket;
    event_assign(&client->readable, client->base, socket, EV_READ | EV_PERSIST, on_readable,
                 client);
    event_add(&client->readable, NULL);
}

/* False: it is longer than an order may say. */
static bool copy(char *out, size_t size, const char *text)
{
    int length = snprintf(out, size, "%s", text ? text : "");
    return length >= 0 && (size_t)length < size;
}

static bool write_order(struct opener_request *request, const struct opener_session *session)
{
    struct opener_order order = {
        .id = request->id,
        .backend = (uint16_t)session->backend,
        .esmtp = session->esmtp,
    };
    if (session->client)
        order.client = *session->client;
    if (session->local)
        order.local = *session->local;
    if (session->backend > UINT16_MAX ||
        !copy(order.login, sizeof order.login, session->login) ||
        !copy(order.mechanism, sizeof order.mechanism, session->mechanism) ||
        !copy(order.helo, sizeof order.helo, session->helo) ||
        !copy(order.host, sizeof order.host, session->host) ||
        !copy(order.tls, sizeof order.tls, session->tls))
        return false;
    request->length = opener_message_write_order(&order, request->bytes);
    return request->length > 0;
}

struct opener_request *opener_open(struct opener_client *client,
                                   const struct opener_session *session,
                                   opener_callback *callback, void *context)
{
    struct opener_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->client = client;
    request->id = ++client->last_id;
    request->callback = callback;
    request->context = context;
    if (!write_order(request, session)) {
        free(request);
        errno = EINVAL;
        return NULL;
    }
    evtimer_assign(&request->retry, client->base, on_retry, request);
    LIST_INSERT_HEAD(&client->requests, request, link);
    send_order(request);
    return request;
}

void opener_request_cancel(struct opener_request *request)
{
    if (!request)
        return;
    LIST_REMOVE(request, link);
    event_del(&request->retry);
    free(request);
}

const char *opener_error(int error)
{
    switch (error) {
    case EUSERS:
        return "as many programs are running as may";
    case OPENER_NO_ROOM:
        return strerrordesc_np(EMFILE);
    case EDQUOT:
        return "this client has its share of the programs";
    case EINVAL:
        return "cannot pass the client's identity to the program";
    case EAFNOSUPPORT:
        return "it has no address of the client's family";
    case ECONNRESET:
        return "the process that opens it has died";
    default:
        return strerrordesc_np(error) ? strerrordesc_np(error) : "unknown error";
    }
}
