/*
 * The host that a request is meant for ("localhost:8025", RFC 9110 section 4.2): is it this
 * interface? A browser says the name by which it came here, so that a page of another site
 * whose name leads to this host (DNS rebinding) can be told from the postmaster. Pure.
 */
#ifndef POSTERN_ADMIN_AUTHORITY_H
#define POSTERN_ADMIN_AUTHORITY_H

#include <stdbool.h>
#include <stddef.h>

/* What programs that speak to the unix socket call it, as in http://postern/status. */
#define ADMIN_AUTHORITY_NAME "postern"

/*
 * Returns true for "localhost", an IPv4 address of 127.0.0.0/8 and "[::1]", each perhaps with a
 * port from 1 to 65535, in any case. With `has_name` also for ADMIN_AUTHORITY_NAME, but not
 * with a port: a name of one word may lead anywhere, and the page of a browser that was led
 * here by it has come through a port. Anything else is false: an empty text, a trailing dot,
 * names below localhost, numbers that are not written as addresses usually are.
 */
bool admin_authority_is_own(const char *text, size_t length, bool has_name);

/*
 * For the figures, where other hosts may read them. Returns true for "localhost", every IP
 * address ("192.0.2.1", "[2001:db8::1]"), ADMIN_AUTHORITY_NAME, `hostname` and its first label,
 * each perhaps with a port from 1 to 65535, in any case. A page of another site has come from
 * none of these: it has a name of its own, and an address is no name that could lead elsewhere.
 */
bool admin_authority_is_direct(const char *text, size_t length, const char *hostname);

#endif
