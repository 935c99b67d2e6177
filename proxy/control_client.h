/* The reactor's end of its control socket: takes what the master sends, on the loop. */
#ifndef POSTERN_CONTROL_CLIENT_H
#define POSTERN_CONTROL_CLIENT_H

#include <event2/event.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/control.h"

struct control_client;

/* A message from the master. The descriptor is the receiver's. `message` is NULL when the
 * master is gone. */
typedef void control_callback(void *context, const struct control_message *message,
                              int descriptor);

MUST_USE struct control_client *control_client_new(struct event_base *base, int fd,
                                                   control_callback *callback, void *context);
/* Closes the socket. */
void control_client_free(struct control_client *client);

/* Tells the master; logs if that is not possible. */
void control_client_tell(struct control_client *client, enum control_type type,
                         uint32_t number);

#endif
