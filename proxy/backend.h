/*
 * Opening a session at a backend: connection, greeting, EHLO, identity,
 * EHLO again with the client's own name.
 *
 *   CONNECTING ─> GREETING ─> EHLO ─> XCLIENT (1 to n) ─> EHLO_AGAIN ─> ready
 *
 * Fails closed (promise 3): whatever is missing, refused, late or not SMTP
 * ends in a cause, the connection is closed, and nothing of the client's has
 * been sent. Each step has the deadline of the configuration.
 */
#ifndef POSTERN_BACKEND_H
#define POSTERN_BACKEND_H

#include "proxy/base/compiler.h"
#include "proxy/identity.h"
#include "proxy/replies.h"
#include "proxy/smtp/ehlo.h"
#include "proxy/smtp/reply.h"
#include "tls/stream.h"

struct backend;
struct service;

struct backend_result {
    struct stream *stream;        /* the receiver's from now on; NULL: failed, or a probe */
    const struct smtp_ehlo *ehlo; /* what it offers; NULL: failed */
    enum reply reply;             /* for the client when it failed */
    bool of_client; /* it failed when the backend knew the client: others may fare better */
    /* What the backend itself said to refuse the session, 4xx or 5xx; NULL: it did not. */
    const struct smtp_reply_text *refusal;
    const char *cause; /* for the log when it failed: "backend refused XCLIENT: 550 …" */
};

/* Once, never before backend_open() has returned. The backend is gone when it returns. */
typedef void backend_callback(void *context, const struct backend_result *result);

/*
 * Opens a session for a client at the backend that `config` describes. What the identity points
 * to must stay until the callback. NULL: no memory.
 */
MUST_USE struct backend *backend_open(struct service *service,
                                      const struct config_backend *config,
                                      const struct identity *identity,
                                      backend_callback *callback, void *context);

/* Asks what it offers, and takes its leave with QUIT. */
MUST_USE struct backend *backend_probe(struct service *service,
                                       const struct config_backend *config,
                                       backend_callback *callback, void *context);

/* Closes without calling back. NULL is allowed. */
void backend_cancel(struct backend *backend);

#endif
