/*
 * This reactor's events of the log on their way to those who watch them: the reactors that
 * serve GET /events. Nobody is waited for.
 */
#ifndef POSTERN_ADMIN_WATCHED_H
#define POSTERN_ADMIN_WATCHED_H

#include <event2/event.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

struct admin_watched;

MUST_USE struct admin_watched *admin_watched_new(struct event_base *base);
/* NULL is allowed. */
void admin_watched_free(struct admin_watched *watched);

/* From now on each event goes to this socket, too, as a struct admin_event, until its other end
 * is closed. The socket is taken over, and takes the place of one with the same number. */
void admin_watched_add(struct admin_watched *watched, uint32_t serial, int fd);

#endif
