/*
 * A reactor of the program before this one: still a child of the master, which finishes its
 * sessions. It is of no generation, as its configuration is the former program's; nobody
 * replaces what helps it. It can be asked about its sessions, if that program has left the
 * socket, and if it speaks as this one does.
 */
#ifndef POSTERN_FORMER_H
#define POSTERN_FORMER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"
#include "proxy/control.h"

struct generation;

struct former {
    pid_t pid;
    int control; /* the master's end; -1: it cannot be told anything */
    int asked; /* its end of the socket on which it is asked; -1: it has not been introduced */
};

/* Is it the master's end of a reactor's control socket? The next programs do not inherit it. */
MUST_USE bool former_is_control(int fd);

/* "81 12 1": process number, control socket, CONTROL_VERSION; what comes after the number may
 * be missing, or of no use. False: it is none. */
MUST_USE bool former_take(struct former *former, const char *words);

/*
 * Has the generation in charge ask it from now on. One that does not hear of it is asked too:
 * as its sessions are there, it must be missed, and not pass for one that has none.
 */
void former_introduce(struct former *former, const struct generation *in_charge);

/* Tells it, if it can be told. */
void former_tell(const struct former *former, enum control_type type, uint32_t number);

/* It has ended. */
void former_close(struct former *former);

#endif
