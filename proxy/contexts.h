/*
 * The TLS contexts of a configuration: one for each of its listeners, and one for each backend
 * that is spoken to under TLS. Certificates and keys are read once for all.
 */
#ifndef POSTERN_CONTEXTS_H
#define POSTERN_CONTEXTS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "tls/context.h"

struct contexts {
    const struct config *config;
    struct tls_certificates *certificates;
    uint8_t
        ticket_secret[TLS_TICKET_SECRET_SIZE]; /* if config->tls.ticket_secret names a file */
    SSL_CTX **listens;                         /* by index into config->listens */
    SSL_CTX **backends; /* by index into config->backends; NULL: in the clear */
};

/*
 * Returns NULL, having logged why, if one of the contexts cannot be made. A certificate of
 * another section than "tls" that cannot be used is an error in the log, and the rest goes on
 * without it. The configuration must outlive the contexts.
 */
MUST_USE struct contexts *contexts_new(const struct config *config);

/* Are all certificates given to the clients that ask for their names? Each that is not has been
 * logged as an error. */
bool contexts_whole(const struct contexts *contexts);

/* NULL is allowed. */
void contexts_free(struct contexts *contexts);

#endif
