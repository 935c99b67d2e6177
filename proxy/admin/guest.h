/*
 * Who has connected to the address where figures are shown: this host itself,
 * or an address of the networks of admin.allow. Everybody else is refused
 * before a byte of the request is looked at.
 */
#ifndef POSTERN_ADMIN_GUEST_H
#define POSTERN_ADMIN_GUEST_H

#include "proxy/base/compiler.h"
#include "proxy/config.h"

enum admin_guest {
    ADMIN_GUEST_UNKNOWN, /* not looked at yet */
    ADMIN_GUEST_LOCAL,   /* a loopback address */
    ADMIN_GUEST_ALLOWED, /* another one, which may read the figures */
    ADMIN_GUEST_REFUSED,
};

/* Looks at the other end of a TCP connection. A refusal is logged, and counted in the
 * statistics; it is also the answer where the address is not to be found out. */
MUST_USE enum admin_guest admin_guest_of(int fd, const struct config_admin *config);

#endif
