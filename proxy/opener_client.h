/*
 * The reactor's side of the opener: asks it for backend connections that a
 * process in an empty root and without rights cannot make by itself.
 *
 *   opener_open ──> (sent) ──> answer: a descriptor, or an errno ──> callback
 *
 * What is asked while no opener is there waits for the next one; what an
 * opener was asked before it died fails. The caller has the deadline.
 *
 * A program's session ends when its descriptor is closed, by whatever means:
 * the opener sees that by itself and ends a program that does not.
 */
#ifndef POSTERN_OPENER_CLIENT_H
#define POSTERN_OPENER_CLIENT_H

#include <event2/event.h>
#include <stdbool.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

struct opener_client;
struct opener_request;

MUST_USE struct opener_client *opener_client_new(struct event_base *base);
/* All requests must be gone. NULL is allowed. */
void opener_client_free(struct opener_client *client);

/* Takes over the socket of a new opener; the one before is forgotten. */
void opener_client_attach(struct opener_client *client, int socket);

/* Whom a connection is for. Texts and addresses are copied; NULL: not known. */
struct opener_session {
    unsigned backend; /* its index in config->backends */
    const struct address *client, *local;
    const char *login;
    const char *mechanism; /* "PLAIN" */
    const char *helo;
    const char *host; /* the client's name, confirmed */
    const char *tls;  /* version on the client's side, "TLSv1.3" */
    bool esmtp;       /* EHLO, not HELO */
    bool probe;       /* no client's, and without a user's rights */
};

/*
 * A stream socket, non-blocking and the receiver's, or -1 and an errno. A transparent one may
 * still be connecting. The request is gone when it returns.
 */
#define OPENER_NO_ROOM 4096 /* no errno: it was opened, and this process lacks a descriptor */
typedef void opener_callback(void *context, int descriptor, int error);

/*
 * Asks. A program whose line has a value that is not known or empty is refused with EINVAL: for
 * a probe, give stand-ins. A unix socket whose queue is full is tried again and again.
 * NULL, with errno: no memory, or a value is over-long or has control characters (EINVAL). The
 * callback comes once, never before this has returned.
 */
MUST_USE struct opener_request *opener_open(struct opener_client *client,
                                            const struct opener_session *session,
                                            opener_callback *callback, void *context);

/* No callback; what comes is closed. NULL is allowed. */
void opener_request_cancel(struct opener_request *request);

/* What an errno of the callback means here, as a phrase. */
const char *opener_error(int error);

#endif
