/*
 * Taking connections: one acceptor for each listening socket of a reactor.
 * Here the limits are kept: connections in all, where the oldest that has not
 * logged in gives way (threat 27), and for each address.
 */
#ifndef POSTERN_ACCEPTOR_H
#define POSTERN_ACCEPTOR_H

#include "proxy/base/compiler.h"
#include "proxy/door.h"
#include "proxy/service.h"

struct acceptor;

/* For `fd`, which it owns. The door must outlive it. NULL: no memory. */
MUST_USE struct acceptor *acceptor_new(struct service *service, struct door *door, int fd);

/* Starts to accept; the socket has to listen by now. */
void acceptor_begin(struct acceptor *acceptor);

/* Stops, and closes the socket. NULL is allowed. */
void acceptor_free(struct acceptor *acceptor);

#endif
