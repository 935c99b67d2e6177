/*
 * The trace field (RFC 5321 section 4.4, RFC 3848) that tells a backend, and
 * everybody who reads the message later, who handed it in. Pure, no
 * allocation.
 */
#ifndef POSTERN_SMTP_TRACE_H
#define POSTERN_SMTP_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer names, and longer words of other kinds, are cut. */
#define SMTP_TRACE_NAME_LIMIT 255
#define SMTP_TRACE_WORD_LIMIT 64

/* Texts are NUL-terminated; NULL or empty: there is none. Any bytes are safe. */
struct smtp_trace {
    const char *helo;     /* what the client called itself */
    const char *ptr;      /* its confirmed name */
    const char *address;  /* "203.0.113.9", "2001:db8::9" */
    const char *hostname; /* ours */
    bool esmtp;           /* it said EHLO */
    bool authenticated;
    const char *login;       /* NULL: hidden, or nobody's */
    const char *tls_version; /* NULL: without TLS */
    const char *tls_cipher;
    unsigned tls_bits; /* of the cipher's key; 0: not told */
    const char *id;    /* the session's, as logs have it */
    int64_t time;      /* seconds since 1970 in UTC; told from 1970 to 9999 */
    int utc_offset_minutes;
};

/* Room for every field that smtp_trace_format() can write; trace.c adds it up. */
#define SMTP_TRACE_SIZE 2048

/*
 * Writes the field with its last CRLF and returns its length:
 *
 *     Received: from helo (ptr [203.0.113.9])
 *             by hostname with ESMTPSA (TLSv1.3:TLS_AES_128_GCM_SHA256:128)
 *             (authenticated as alice) id a1b2; Mon, 23 Nov 2026 17:24:38 +0000
 *
 * Folded at 78 bytes where a word is not longer by itself. In place of every byte that could
 * end a word, a comment, a line or the field stands a '?'.
 */
size_t smtp_trace_format(const struct smtp_trace *trace, char out[static SMTP_TRACE_SIZE]);

#endif
