/* Which TCP ports of this host are listened on, and by whom, as /proc tells it. */
#ifndef POSTERN_DOCTOR_SOCKETS_H
#define POSTERN_DOCTOR_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

struct doctor_socket {
    struct address address;
    uid_t uid;
    unsigned long inode;
};

/* Called for each listening socket; returns whether to go on. */
typedef bool doctor_socket_visit(void *context, const struct doctor_socket *socket);

/* False: the kernel's table cannot be read. */
MUST_USE bool doctor_sockets_each(doctor_socket_visit *visit, void *context);

/* Finds one that listens on the address, or on all addresses with its port. */
MUST_USE bool doctor_sockets_find(const struct address *address, struct doctor_socket *out);

struct doctor_process {
    pid_t pid;
    char name[32]; /* as ps -o comm has it */
    bool postern;
};

/* Whose socket it is: the first process that has it, or Postern if that is one of them. False:
 * none is seen, as others' descriptors are root's to see. */
MUST_USE bool doctor_sockets_owner(const struct doctor_socket *socket,
                                   struct doctor_process *out);

#endif
