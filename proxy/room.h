/*
 * Room where there is none: a connection that has not logged in gives way to a newcomer in a
 * full house (threat 27), and to whoever needs a descriptor where the process has no more of
 * them, a user's session at the backend above all. Called from the loop, while no other
 * session is being dealt with: another session may be freed.
 */
#ifndef POSTERN_ROOM_H
#define POSTERN_ROOM_H

#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/service.h"

/* Ends the oldest connection that may give way. False: all others have logged in. */
MUST_USE bool room_make(struct service *service);

/* Frees one descriptor now. False: nobody can give one. */
bool room_free_descriptor(struct service *service);

/* Did a call fail because no descriptor is left (errno)? */
bool room_is_lacking(int error);

#endif
