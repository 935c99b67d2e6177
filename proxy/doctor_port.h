/* Who has the TCP port of a listener. Called by the doctor's checks and by `postern setup`. */
#ifndef POSTERN_DOCTOR_PORT_H
#define POSTERN_DOCTOR_PORT_H

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/doctor_sockets.h"

enum doctor_port {
    DOCTOR_PORT_FREE,    /* no socket listens there */
    DOCTOR_PORT_UNSEEN,  /* another user's process has it, and only root can see which */
    DOCTOR_PORT_POSTERN, /* a Postern that runs */
    DOCTOR_PORT_UNIT,    /* the service manager, for a socket unit */
    DOCTOR_PORT_TAKEN,   /* another server */
};

struct doctor_port_owner {
    struct doctor_socket socket;   /* unset where the port is free */
    struct doctor_process process; /* unset where it is free or unseen */
};

MUST_USE enum doctor_port doctor_port_find(const struct address *address,
                                           struct doctor_port_owner *owner);

/* Returns what makes a process of this name give up a port (static). */
const char *doctor_port_advice(const char *process);

#endif
