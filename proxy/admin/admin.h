/*
 * The administration interface as a reactor has it: the first reactor of the
 * serving generation answers HTTP, all of them answer the questions of that
 * one.
 */
#ifndef POSTERN_ADMIN_H
#define POSTERN_ADMIN_H

#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/contexts.h"
#include "proxy/control.h"
#include "proxy/service.h"
#include "proxy/upstream.h"

struct admin;

/* `upstreams` are those of config->backends; all must outlive it. NULL: no memory. */
MUST_USE struct admin *admin_new(struct service *service, const struct contexts *contexts,
                                 struct upstream *const *upstreams);
/* NULL is allowed. */
void admin_free(struct admin *admin);

/* A message of the master's that is about administration; takes the descriptor. */
void admin_told(struct admin *admin, const struct control_message *message, int descriptor);

/* The master is gone. */
void admin_left_alone(struct admin *admin);

/* Postern stops: nothing is ordered any more. */
void admin_stop(struct admin *admin);
/* Takes no more requests; those that are under way are answered. */
void admin_drain(struct admin *admin);
/* Is anything under way? */
bool admin_is_busy(struct admin *admin);

#endif
