/*
 * Where the records of TLS end in what a socket has given (RFC 8446 section 5.1, RFC 5246
 * section 6.2.1). Called by stream_bio.c, so that OpenSSL is given whole records and gives its
 * buffer back after each read. What a record means is OpenSSL's to say.
 */
#ifndef POSTERN_TLS_RECORD_ENDS_H
#define POSTERN_TLS_RECORD_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

/*
 * Sets *end to the number of bytes that the whole records take; what follows is the beginning
 * of one. Returns false if a header is none that TLS 1.3 allows, which may be a fault to be
 * answered before more comes: OpenSSL must see all bytes. `bytes` begin with a header.
 */
MUST_USE bool tls_record_ends(const uint8_t *bytes, size_t length, size_t *end);

#endif
