/*
 * Parameters of MAIL and RCPT (RFC 5321 section 4.1.2), by the extension that
 * each belongs to: for a backend that does not know some of them. Pure, no
 * allocation.
 */
#ifndef POSTERN_SMTP_PARAMETERS_H
#define POSTERN_SMTP_PARAMETERS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Copies arguments behind MAIL or RCPT (`word` is "FROM:" or "TO:") to `out`, which has room
 * for `length` bytes, without those parameters of `extensions` (bits 1u << enum
 * smtp_extension) without which the message is the same: SIZE, BODY=7BIT, and those of DSN (RFC
 * 3461 section 5.2.2) and MT-PRIORITY. Returns the bits of the others that were found, which
 * are kept, like all the rest, byte for byte. What cannot be read is kept whole.
 */
__attribute__((warn_unused_result)) uint32_t
smtp_parameters_leave_out(const char *arguments, size_t length, const char *word,
                          uint32_t extensions, char *out, size_t *out_length);

#endif
