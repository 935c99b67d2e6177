/*
 * The record layer of TLS 1.3 (RFC 8446 section 5), once OpenSSL has done the
 * handshake: sealing and opening records with the traffic secrets that it
 * agreed on. A session that is past its handshake needs two secrets and two
 * counters, not an SSL object of 15 KiB; that is why this is here. All
 * cryptography is OpenSSL's (EVP); what is ours is the framing.
 *
 * Pure: bytes in, bytes out, no I/O.
 */
#ifndef POSTERN_TLS_RECORD_H
#define POSTERN_TLS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

#define TLS_RECORD_HEADER_SIZE 5
#define TLS_RECORD_TAG_SIZE    16
/* Content of one record, in bytes (section 5.1). */
#define TLS_RECORD_CONTENT_LIMIT 16384
/* What sealing adds: header, content type, tag. */
#define TLS_RECORD_OVERHEAD (TLS_RECORD_HEADER_SIZE + 1 + TLS_RECORD_TAG_SIZE)
/* A whole record of the other side's, with its header (section 5.2: 256 bytes of expansion). */
#define TLS_RECORD_SIZE_LIMIT (TLS_RECORD_HEADER_SIZE + TLS_RECORD_CONTENT_LIMIT + 256)

#define TLS_SECRET_LIMIT 48 /* SHA-384 */
#define TLS_KEY_LIMIT    32
#define TLS_IV_SIZE      12

/* The ciphers, fetched once, and two contexts that all sessions of a thread take turns in. */
struct tls_engine;

MUST_USE struct tls_engine *tls_engine_new(void);
void tls_engine_free(struct tls_engine *engine);

struct tls_direction {
    uint64_t sequence; /* of the next record */
    uint8_t secret[TLS_SECRET_LIMIT];
    uint8_t key[TLS_KEY_LIMIT];
    uint8_t iv[TLS_IV_SIZE];
};

enum tls_suite { TLS_SUITE_AES_128, TLS_SUITE_AES_256, TLS_SUITE_CHACHA20, TLS_SUITES };

/* Section 6. */
enum tls_alert {
    TLS_ALERT_CLOSE_NOTIFY = 0,
    TLS_ALERT_UNEXPECTED_MESSAGE = 10,
    TLS_ALERT_BAD_RECORD_MAC = 20,
    TLS_ALERT_RECORD_OVERFLOW = 22,
    TLS_ALERT_DECODE_ERROR = 50,
    TLS_ALERT_INTERNAL_ERROR = 80,
    TLS_ALERT_USER_CANCELED = 90,
};

struct tls_records {
    uint32_t suite; /* enum tls_suite */
    struct tls_direction in, out;
};

/* A suite's index by OpenSSL's name ("TLS_AES_128_GCM_SHA256"); -1: not one of TLS 1.3's. */
int tls_suite_lookup(const char *name);
/* Bytes of its secrets. */
size_t tls_suite_secret_size(int suite);

/*
 * Keys from the first application traffic secrets (section 7.3). `sent` records have gone out
 * under them already. False: OpenSSL failed.
 */
MUST_USE bool tls_records_init(struct tls_records *records, struct tls_engine *engine,
                               int suite, const uint8_t *client_secret,
                               const uint8_t *server_secret, uint64_t sent);

/* Overwrites all secrets. */
void tls_records_wipe(struct tls_records *records, struct tls_engine *engine);

enum tls_content {
    TLS_CONTENT_ALERT = 21,
    TLS_CONTENT_HANDSHAKE = 22,
    TLS_CONTENT_DATA = 23,
};

/*
 * Seals `length` bytes (at most TLS_RECORD_CONTENT_LIMIT) as one record into `out`, which has
 * room for TLS_RECORD_OVERHEAD more. Returns the record's size; 0: failed.
 */
MUST_USE size_t tls_record_seal(struct tls_records *records, struct tls_engine *engine,
                                enum tls_content type, const void *content, size_t length,
                                uint8_t *out);

enum tls_record_status {
    TLS_RECORD_DATA,       /* *content_length bytes of application data (0 is allowed) */
    TLS_RECORD_PARTIAL,    /* the record is not whole yet */
    TLS_RECORD_CLOSE,      /* close_notify */
    TLS_RECORD_KEY_UPDATE, /* their key has changed; *content_length 1: they want ours to change
                              too */
    TLS_RECORD_BROKEN,     /* *alert is to be sent, and the connection closed */
};

/*
 * Opens the record that begins at `in`. `out` has room for its content and TLS_RECORD_OVERHEAD
 * (its whole size is enough) and may not overlap. *consumed is the record's size when it was
 * whole.
 */
MUST_USE enum tls_record_status tls_record_open(struct tls_records *records,
                                                struct tls_engine *engine, const uint8_t *in,
                                                size_t length, uint8_t *out, size_t *consumed,
                                                size_t *content_length, uint8_t *alert);

/*
 * The same for a record that the kernel has opened: what the content, of this type, comes to.
 * TLS_RECORD_PARTIAL is not among the answers.
 */
MUST_USE enum tls_record_status tls_record_take(struct tls_records *records,
                                                struct tls_engine *engine, uint8_t type,
                                                const uint8_t *content, size_t *length,
                                                uint8_t *alert);

/*
 * Writes a KeyUpdate message sealed with the old key to `out` (64 bytes are enough), and
 * changes to the next key (section 4.6.3). Returns its size; 0: failed.
 */
MUST_USE size_t tls_record_update_key(struct tls_records *records, struct tls_engine *engine,
                                      uint8_t *out);

/* So many records may be sealed with one key (section 5.5, with a margin). */
#define TLS_RECORD_KEY_LIMIT (UINT64_C(1) << 23)

#endif
