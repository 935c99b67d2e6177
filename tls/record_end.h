/*
 * Where a record of TLS ends in what a socket has given (RFC 8446 section 5.1, RFC 5246 section
 * 6.2.1). Called by stream_bio.c, so that OpenSSL is given whole records. What a record means
 * is OpenSSL's to say.
 */
#ifndef POSTERN_TLS_RECORD_END_H
#define POSTERN_TLS_RECORD_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

/*
 * Sets *end to the number of bytes that the record takes with which `bytes` begin; 0 if it is
 * not all there. Returns false if its header is none that TLS 1.3 allows, which may be a fault
 * to be answered before more comes: OpenSSL must see all bytes.
 */
MUST_USE bool tls_record_end(const uint8_t *bytes, size_t length, size_t *end);

#endif
