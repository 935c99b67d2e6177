/*
 * Opening a session at the backend: connection, greeting, EHLO, identity
 * (XCLIENT), EHLO again with the client's own name.
 *
 *   CONNECTING -> GREETING -> EHLO -> XCLIENT (1 to n) -> EHLO_AGAIN -> ready
 *
 * Fails closed (promise 3): whatever is missing, refused, late or not SMTP
 * ends in a cause, the connection is closed, and nothing of the client's has
 * been sent. Each step has the deadline of the configuration.
 */
#ifndef POSTERN_BACKEND_H
#define POSTERN_BACKEND_H

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/replies.h"
#include "proxy/smtp/ehlo.h"
#include "tls/stream.h"

struct backend;
struct service;

/* Who and where the client is. Strings must stay until the callback. */
struct backend_identity {
    const char *login;
    const char *helo; /* what it said after EHLO */
    const struct address *client;
    const struct address *local; /* where the client connected to */
};

struct backend_result {
    struct stream *stream;        /* the receiver's from now on; NULL: failed, or a probe */
    const struct smtp_ehlo *ehlo; /* what it offers; NULL: failed */
    enum reply reply;             /* for the client when it failed */
    const char *cause; /* for the log when it failed: "backend refused XCLIENT: 550 …" */
};

/* Once, never before backend_open() has returned. The backend is gone when it returns. */
typedef void backend_callback(void *context, const struct backend_result *result);

/*
 * Starts. Without an identity it is a probe: after EHLO it takes its leave with QUIT. NULL: no
 * memory or descriptor.
 */
MUST_USE struct backend *backend_open(struct service *service,
                                      const struct backend_identity *identity,
                                      backend_callback *callback, void *context);

/* Closes without calling back. NULL is allowed. */
void backend_cancel(struct backend *backend);

#endif
