/* The secret from which the keys of session tickets follow, where several machines share one.
 */
#ifndef POSTERN_TLS_TICKET_SECRET_H
#define POSTERN_TLS_TICKET_SECRET_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "tls/context.h"

/* Fewer bytes than this in a file are no secret. */
#define TLS_TICKET_SECRET_FILE_MINIMUM 32

/*
 * Makes the secret from all of a file's content. Returns false, having logged why: it cannot be
 * read, is too short or too long, or others can read it.
 */
MUST_USE bool tls_ticket_secret_read(const char *path,
                                     uint8_t out[static TLS_TICKET_SECRET_SIZE]);

#endif
