/* The reactor's side of control.h. Requests are few and short-lived, so they stand in a list.
 */
#include "proxy/control_client.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "proxy/base/log.h"

/* How long to leave a backend alone whose queue of connections is full. */
#define RETRY_MS 50

struct control_request {
    LIST_ENTRY(control_request) link;
    struct control_client *client;
    struct event retry;
    uint32_t number;
    control_opened *callback;
    void *context;
};

struct control_client {
    struct event_base *base;
    int fd;
    uint32_t last_number;
    struct event readable;
    control_callback *callback;
    void *context;
    LIST_HEAD(, control_request) requests;
};

static bool ask(const struct control_request *request)
{
    struct control_message message = {.type = CONTROL_OPEN_BACKEND, .number = request->number};
    return control_send(request->client->fd, &message, -1);
}

static void end_request(struct control_request *request, int descriptor, int error)
{
    LIST_REMOVE(request, link);
    event_del(&request->retry);
    request->callback(request->context, descriptor, error);
    free(request);
}

static void on_retry(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct control_request *request = argument;
    if (!ask(request))
        end_request(request, -1, errno);
}

/* A full queue is not an outage: a unix socket's connect() would have waited, as TCP's does. */
static void finish_request(struct control_client *client, const struct control_message *message,
                           int descriptor)
{
    static const struct timeval pause = {0, RETRY_MS * 1000};
    struct control_request *request;
    LIST_FOREACH(request, &client->requests, link)
    if (request->number == message->number)
        break;
    if (!request) {
        if (descriptor >= 0)
            close(descriptor);
        return;
    }
    if (descriptor < 0 && message->error == EAGAIN)
        evtimer_add(&request->retry, &pause);
    else
        end_request(request, descriptor, message->error);
}

static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    struct control_client *client = argument;
    struct control_message message;
    int descriptor;

    switch (control_receive(fd, &message, &descriptor)) {
    case CONTROL_OK:
        if (message.type == CONTROL_BACKEND)
            finish_request(client, &message, descriptor);
        else
            client->callback(client->context, &message, descriptor);
        break;
    case CONTROL_AGAIN:
        break;
    case CONTROL_CLOSED:
        event_del(&client->readable);
        client->callback(client->context, NULL, -1);
        break;
    case CONTROL_BROKEN:
        log_error("a message from the master cannot be read");
        break;
    }
}

struct control_client *control_client_new(struct event_base *base, int fd,
                                          control_callback *callback, void *context)
{
    struct control_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->base = base;
    client->fd = fd;
    client->callback = callback;
    client->context = context;
    LIST_INIT(&client->requests);
    event_assign(&client->readable, base, fd, EV_READ | EV_PERSIST, on_readable, client);
    event_add(&client->readable, NULL);
    return client;
}

void control_client_free(struct control_client *client)
{
    event_del(&client->readable);
    close(client->fd);
    free(client);
}

void control_client_tell(struct control_client *client, enum control_type type, uint32_t number)
{
    struct control_message message = {.type = type, .number = number};
    if (!control_send(client->fd, &message, -1))
        log_error("the master cannot be told of an event: %s", strerrordesc_np(errno));
}

struct control_request *control_client_open_backend(struct control_client *client,
                                                    control_opened *callback, void *context)
{
    struct control_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->client = client;
    request->number = ++client->last_number;
    request->callback = callback;
    request->context = context;

    evtimer_assign(&request->retry, client->base, on_retry, request);
    if (!ask(request)) {
        free(request);
        return NULL;
    }
    LIST_INSERT_HEAD(&client->requests, request, link);
    return request;
}

void control_request_cancel(struct control_request *request)
{
    if (!request)
        return;
    LIST_REMOVE(request, link);
    event_del(&request->retry);
    free(request);
}
