/* How the connection to a backend is made: by the reactor itself, or by its opener. */
#ifndef POSTERN_BACKEND_SOCKET_H
#define POSTERN_BACKEND_SOCKET_H

#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/identity.h"
#include "proxy/opener_client.h"
#include "proxy/service.h"

/*
 * Begins. Returns a descriptor that is connecting, and is the caller's; or -1 with *request:
 * the opener has been asked, and the callback comes unless the request is cancelled; or -1
 * without, and errno. `identity` is NULL for a probe, which is for nobody.
 */
MUST_USE int backend_socket_open(struct service *service, const struct config_backend *config,
                                 const struct identity *identity, opener_callback *callback,
                                 void *context, struct opener_request **request);

#endif
