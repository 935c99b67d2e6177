/* posternctl tail: events as they happen. */
#ifndef POSTERN_CTL_TAIL_H
#define POSTERN_CTL_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proxy/ctl/show.h"

/* Prints what `target` streams, until Postern stops or is gone; goes on after a reload. `json`:
 * as it comes. */
enum ctl_exit ctl_tail(const char *socket_path, const char *target, bool json);

/* Prints an event for people: "14:05:09Z message user=alice …". False: it is none. Any bytes
 * are safe. */
bool ctl_tail_print(FILE *out, const char *line, size_t length);

#endif
