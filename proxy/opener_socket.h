/* Backend connections that are sockets and nothing more. */
#ifndef POSTERN_OPENER_SOCKET_H
#define POSTERN_OPENER_SOCKET_H

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

/* Both return a non-blocking descriptor, or -1 with errno. */

/* Connected; EAGAIN: the backend's queue is full. */
MUST_USE int opener_socket_unix(const struct address *backend);

/*
 * Connecting, from the client's own address: from its port as well, unless that is taken.
 * Needs CAP_NET_ADMIN. EAFNOSUPPORT: backend and client are of different families.
 */
MUST_USE int opener_socket_transparent(const struct address *backend,
                                       const struct address *client);

#endif
