/* Keys, self-signed certificates and requests for others, for `postern setup`. */
#ifndef POSTERN_SETUP_CERTIFICATE_H
#define POSTERN_SETUP_CERTIFICATE_H

#include <stdbool.h>

#include "proxy/base/compiler.h"

/*
 * Makes a P-256 key (mode 0600) and, for that name, a certificate that it has signed itself or
 * a request to an authority. False, having said why on standard error.
 */
MUST_USE bool setup_make_self_signed(const char *hostname, const char *certificate,
                                     const char *key, bool force);
MUST_USE bool setup_make_request(const char *hostname, const char *request, const char *key,
                                 bool force);

/* Days that a self-signed one is valid: what the strictest of clients accept. */
#define SETUP_CERTIFICATE_DAYS 397

#endif
