/* The reactor's side of control.h. */
#include "proxy/control_client.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/log.h"

struct control_client {
    int fd;
    struct event readable;
    control_callback *callback;
    void *context;
};

static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    struct control_client *client = argument;
    struct control_message message;
    int descriptor;

    switch (control_receive(fd, &message, &descriptor)) {
    case CONTROL_OK:
        client->callback(client->context, &message, descriptor);
        break;
    case CONTROL_AGAIN:
        break;
    case CONTROL_CLOSED:
        event_del(&client->readable);
        client->callback(client->context, NULL, -1);
        break;
    case CONTROL_BROKEN:
        log_error("malformed message from the master");
        break;
    }
}

struct control_client *control_client_new(struct event_base *base, int fd,
                                          control_callback *callback, void *context)
{
    struct control_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->fd = fd;
    client->callback = callback;
    client->context = context;
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
        log_error("cannot report an event to the master: %s", strerrordesc_np(errno));
}
