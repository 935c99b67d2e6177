/* The TLS contexts of a configuration: one for each of its listeners, certificate and key read
 * once. */
#ifndef POSTERN_CONTEXTS_H
#define POSTERN_CONTEXTS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

/* An array of config->listen_count contexts; NULL, having logged why, if one cannot be made. */
MUST_USE SSL_CTX **contexts_new(const struct config *config);

/* NULL is allowed. */
void contexts_free(SSL_CTX **contexts, const struct config *config);

/* The same for its backends: config->backend_count, NULL for those that are spoken to in the
 * clear. */
MUST_USE SSL_CTX **backend_contexts_new(const struct config *config);

/* NULL is allowed. */
void backend_contexts_free(SSL_CTX **contexts, const struct config *config);

#endif
