/*
 * The reactor's end of its control socket: takes what the master sends, on
 * the loop, and asks it for what a reactor in an empty root cannot do.
 */
#ifndef POSTERN_CONTROL_CLIENT_H
#define POSTERN_CONTROL_CLIENT_H

#include <event2/event.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/control.h"

struct control_client;
struct control_request;

/*
 * A message from the master, but for CONTROL_BACKEND. The descriptor is the receiver's.
 * `message` is NULL when the master is gone.
 */
typedef void control_callback(void *context, const struct control_message *message,
                              int descriptor);

MUST_USE struct control_client *control_client_new(struct event_base *base, int fd,
                                                   control_callback *callback, void *context);
/* Closes the socket. All requests must be gone. */
void control_client_free(struct control_client *client);

/* Tells the master; logs if that is not possible. */
void control_client_tell(struct control_client *client, enum control_type type,
                         uint32_t number);

/* A connected descriptor, or -1 and an errno. The request is gone when it returns. */
typedef void control_opened(void *context, int descriptor, int error);

/*
 * Asks the master to connect to the backend's unix socket, again and again while its queue is
 * full: the caller has the deadline. NULL: cannot ask.
 */
MUST_USE struct control_request *control_client_open_backend(struct control_client *client,
                                                             control_opened *callback,
                                                             void *context);
/* No callback; the socket is closed when it comes. NULL is allowed. */
void control_request_cancel(struct control_request *request);

#endif
