/*
 * Records of TLS 1.3. Used by stream_tls.c for every session whose handshake is done; trusts no
 * length and no type before the tag has been checked. Knows no socket and no OpenSSL SSL
 * object.
 */
#include "tls/record.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { HANDSHAKE_KEY_UPDATE = 24 };

/* The longest block of a digest in the table: SHA-384's. */
#define BLOCK_LIMIT 128

static const struct {
    const char *name, *cipher, *digest;
    size_t secret_size, key_size;
} suites[TLS_SUITES] = {
    [TLS_SUITE_AES_128] = {"TLS_AES_128_GCM_SHA256", "AES-128-GCM", "SHA256", 32, 16},
    [TLS_SUITE_AES_256] = {"TLS_AES_256_GCM_SHA384", "AES-256-GCM", "SHA384", 48, 32},
    [TLS_SUITE_CHACHA20] = {"TLS_CHACHA20_POLY1305_SHA256", "ChaCha20-Poly1305", "SHA256", 32,
                            32},
};

/* One context for sealing and one for opening; each knows its cipher, and whose key it has. */
struct tls_context_slot {
    EVP_CIPHER_CTX *context;
    const EVP_CIPHER *cipher;
    const struct tls_direction *owner;
};

struct tls_engine {
    EVP_CIPHER *ciphers[TLS_SUITES];
    EVP_MD *digests[TLS_SUITES];
    EVP_MD_CTX *digest;
    struct tls_context_slot seal, open;
};

int tls_suite_lookup(const char *name)
{
    for (int i = 0; i < TLS_SUITES; i++)
        if (strcmp(suites[i].name, name) == 0)
            return i;
    return -1;
}

size_t tls_suite_secret_size(int suite)
{
    return suites[suite].secret_size;
}

struct tls_engine *tls_engine_new(void)
{
    struct tls_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return NULL;
    bool good = (engine->seal.context = EVP_CIPHER_CTX_new()) &&
                (engine->open.context = EVP_CIPHER_CTX_new()) &&
                (engine->digest = EVP_MD_CTX_new());
    for (int i = 0; i < TLS_SUITES && good; i++)
        good = (engine->ciphers[i] = EVP_CIPHER_fetch(NULL, suites[i].cipher, NULL)) &&
               (engine->digests[i] = EVP_MD_fetch(NULL, suites[i].digest, NULL));
    if (good)
        return engine;
    tls_engine_free(engine);
    return NULL;
}

void tls_engine_free(struct tls_engine *engine)
{
    if (!engine)
        return;
    for (int i = 0; i < TLS_SUITES; i++) {
        EVP_CIPHER_free(engine->ciphers[i]);
        EVP_MD_free(engine->digests[i]);
    }
    EVP_MD_CTX_free(engine->digest);
    EVP_CIPHER_CTX_free(engine->seal.context);
    EVP_CIPHER_CTX_free(engine->open.context);
    free(engine);
}

/* One pass of HMAC's digest (RFC 2104): the padded key, then the text. */
static bool hash_padded(const struct tls_engine *engine, uint32_t suite, const uint8_t *key,
                        uint8_t pad, const uint8_t *text, size_t length, uint8_t *out)
{
    uint8_t block[BLOCK_LIMIT];
    size_t size = (size_t)EVP_MD_get_block_size(engine->digests[suite]);
    memset(block, pad, size);
    for (size_t i = 0; i < suites[suite].secret_size; i++)
        block[i] ^= key[i];
    bool good = EVP_DigestInit_ex2(engine->digest, engine->digests[suite], NULL) == 1 &&
                EVP_DigestUpdate(engine->digest, block, size) == 1 &&
                EVP_DigestUpdate(engine->digest, text, length) == 1 &&
                EVP_DigestFinal_ex(engine->digest, out, NULL) == 1;
    explicit_bzero(block, sizeof block);
    return good;
}

/*
 * HMAC with a key of the digest's own size, on digests that are fetched already: OpenSSL's
 * HMAC() looks the algorithm up anew each time, which takes longer than the hashing.
 */
static bool hmac(const struct tls_engine *engine, uint32_t suite, const uint8_t *key,
                 const uint8_t *text, size_t length, uint8_t *out)
{
    return hash_padded(engine, suite, key, 0x36, text, length, out) &&
           hash_padded(engine, suite, key, 0x5c, out, suites[suite].secret_size, out);
}

/* HKDF-Expand-Label (section 7.1) with an empty context; one block of HMAC is always enough. */
static bool expand(const struct tls_engine *engine, uint32_t suite, const uint8_t *secret,
                   const char *label, uint8_t *out, size_t size)
{
    uint8_t information[32], block[EVP_MAX_MD_SIZE];
    size_t label_length = strlen(label), at = 0;

    information[at++] = 0;
    information[at++] = (uint8_t)size;
    information[at++] = (uint8_t)(label_length + 6);
    memcpy(information + at, "tls13 ", 6);
    memcpy(information + at + 6, label, label_length);
    at += 6 + label_length;
    information[at++] = 0;
    information[at++] = 1;

    bool good = hmac(engine, suite, secret, information, at, block);
    memcpy(out, block, size);
    explicit_bzero(block, sizeof block);
    return good;
}

static void forget_key(struct tls_engine *engine, const struct tls_direction *direction)
{
    if (engine->seal.owner == direction)
        engine->seal.owner = NULL;
    if (engine->open.owner == direction)
        engine->open.owner = NULL;
}

/* Key and IV from the secret; numbering starts anew. */
static bool set_keys(struct tls_engine *engine, uint32_t suite, struct tls_direction *direction)
{
    forget_key(engine, direction);
    direction->sequence = 0;
    return expand(engine, suite, direction->secret, "key", direction->key,
                  suites[suite].key_size) &&
           expand(engine, suite, direction->secret, "iv", direction->iv, TLS_IV_SIZE);
}

static bool next_keys(struct tls_engine *engine, uint32_t suite,
                      struct tls_direction *direction)
{
    uint8_t next[TLS_SECRET_LIMIT];
    size_t size = suites[suite].secret_size;
    bool good = expand(engine, suite, direction->secret, "traffic upd", next, size);
    memcpy(direction->secret, next, size);
    explicit_bzero(next, sizeof next);
    return good && set_keys(engine, suite, direction);
}

bool tls_records_init(struct tls_records *records, struct tls_engine *engine, int suite,
                      const uint8_t *client_secret, const uint8_t *server_secret, uint64_t sent)
{
    size_t size = suites[suite].secret_size;
    *records = (struct tls_records){.suite = (uint32_t)suite};
    memcpy(records->in.secret, client_secret, size);
    memcpy(records->out.secret, server_secret, size);
    bool good = set_keys(engine, records->suite, &records->in) &&
                set_keys(engine, records->suite, &records->out);
    records->out.sequence = sent;
    return good;
}

void tls_records_wipe(struct tls_records *records, struct tls_engine *engine)
{
    forget_key(engine, &records->in);
    forget_key(engine, &records->out);
    explicit_bzero(records, sizeof *records);
}

/* The IV with the record's number in its last eight bytes (section 5.3). */
static void make_nonce(const struct tls_direction *direction, uint8_t out[static TLS_IV_SIZE])
{
    memcpy(out, direction->iv, TLS_IV_SIZE);
    for (int i = 0; i < 8; i++)
        out[TLS_IV_SIZE - 1 - i] ^= (uint8_t)(direction->sequence >> (8 * i));
}

/* A context with this direction's key, which is set only when another had its turn. */
static bool take_turn(const struct tls_engine *engine, uint32_t suite,
                      struct tls_context_slot *slot, const struct tls_direction *direction,
                      int sealing)
{
    const EVP_CIPHER *cipher = engine->ciphers[suite];
    bool same_cipher = slot->cipher == cipher, same_key = slot->owner == direction;
    uint8_t nonce[TLS_IV_SIZE];

    make_nonce(direction, nonce);
    slot->cipher = cipher;
    slot->owner = direction;
    return EVP_CipherInit_ex2(slot->context, same_cipher ? NULL : cipher,
                              same_key ? NULL : direction->key, nonce, sealing, NULL) == 1;
}

static void write_header(uint8_t *out, size_t length)
{
    out[0] = TLS_CONTENT_DATA;
    out[1] = 3;
    out[2] = 3;
    out[3] = (uint8_t)(length >> 8);
    out[4] = (uint8_t)length;
}

size_t tls_record_seal(struct tls_records *records, struct tls_engine *engine,
                       enum tls_content type, const void *content, size_t length, uint8_t *out)
{
    uint8_t *body = out + TLS_RECORD_HEADER_SIZE, inner = (uint8_t)type;
    EVP_CIPHER_CTX *context = engine->seal.context;
    size_t sealed = length + 1 + TLS_RECORD_TAG_SIZE;
    int done = 0;

    write_header(out, sealed);
    bool good = take_turn(engine, records->suite, &engine->seal, &records->out, 1) &&
                EVP_EncryptUpdate(context, NULL, &done, out, TLS_RECORD_HEADER_SIZE) == 1 &&
                EVP_EncryptUpdate(context, body, &done, content, (int)length) == 1 &&
                EVP_EncryptUpdate(context, body + length, &done, &inner, 1) == 1 &&
                EVP_EncryptFinal_ex(context, body + length + 1, &done) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TLS_RECORD_TAG_SIZE,
                                    body + length + 1) == 1;
    records->out.sequence++;
    return good ? TLS_RECORD_HEADER_SIZE + sealed : 0;
}

size_t tls_record_update_key(struct tls_records *records, struct tls_engine *engine,
                             uint8_t *out)
{
    static const uint8_t message[] = {HANDSHAKE_KEY_UPDATE, 0, 0, 1, 0};
    size_t size =
        tls_record_seal(records, engine, TLS_CONTENT_HANDSHAKE, message, sizeof message, out);
    return size > 0 && next_keys(engine, records->suite, &records->out) ? size : 0;
}

static bool unseal(struct tls_records *records, struct tls_engine *engine, const uint8_t *in,
                   size_t sealed, uint8_t *out)
{
    const uint8_t *body = in + TLS_RECORD_HEADER_SIZE;
    EVP_CIPHER_CTX *context = engine->open.context;
    size_t length = sealed - TLS_RECORD_TAG_SIZE;
    uint8_t tag[TLS_RECORD_TAG_SIZE];
    int done = 0;

    memcpy(tag, body + length, sizeof tag);
    bool good = take_turn(engine, records->suite, &engine->open, &records->in, 0) &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
                EVP_DecryptUpdate(context, NULL, &done, in, TLS_RECORD_HEADER_SIZE) == 1 &&
                EVP_DecryptUpdate(context, out, &done, body, (int)length) == 1 &&
                EVP_DecryptFinal_ex(context, out + length, &done) == 1;
    records->in.sequence++;
    return good;
}

static enum tls_record_status broken(uint8_t *alert, uint8_t value)
{
    *alert = value;
    return TLS_RECORD_BROKEN;
}

/* KeyUpdate is the only handshake message that a client may send here, whole and alone. */
static enum tls_record_status take_handshake(struct tls_records *records,
                                             struct tls_engine *engine, const uint8_t *message,
                                             size_t *length, uint8_t *alert)
{
    static const uint8_t head[] = {HANDSHAKE_KEY_UPDATE, 0, 0, 1};
    if (*length != sizeof head + 1 || memcmp(message, head, sizeof head) != 0)
        return broken(alert, TLS_ALERT_UNEXPECTED_MESSAGE);
    if (message[4] > 1)
        return broken(alert, TLS_ALERT_DECODE_ERROR);
    if (!next_keys(engine, records->suite, &records->in))
        return broken(alert, TLS_ALERT_INTERNAL_ERROR);
    *length = message[4];
    return TLS_RECORD_KEY_UPDATE;
}

/* Section 6.1: user_canceled, which Java sends before each close_notify, says nothing by
 * itself. */
static enum tls_record_status take_alert(const uint8_t *message, size_t *length, uint8_t *alert)
{
    if (*length != 2)
        return broken(alert, TLS_ALERT_DECODE_ERROR);
    *length = 0;
    if (message[1] == TLS_ALERT_USER_CANCELED)
        return TLS_RECORD_DATA;
    if (message[1] == TLS_ALERT_CLOSE_NOTIFY)
        return TLS_RECORD_CLOSE;
    return broken(alert, TLS_ALERT_CLOSE_NOTIFY);
}

enum tls_record_status tls_record_take(struct tls_records *records, struct tls_engine *engine,
                                       uint8_t type, const uint8_t *content, size_t *length,
                                       uint8_t *alert)
{
    if (*length > TLS_RECORD_CONTENT_LIMIT)
        return broken(alert, TLS_ALERT_RECORD_OVERFLOW);
    switch (type) {
    case TLS_CONTENT_DATA:
        return TLS_RECORD_DATA;
    case TLS_CONTENT_HANDSHAKE:
        return take_handshake(records, engine, content, length, alert);
    case TLS_CONTENT_ALERT:
        return take_alert(content, length, alert);
    default:
        return broken(alert, TLS_ALERT_UNEXPECTED_MESSAGE);
    }
}

/* What was inside: the last byte that is not zero is the type, what follows it is padding. */
static enum tls_record_status take_inner(struct tls_records *records, struct tls_engine *engine,
                                         const uint8_t *inner, size_t *length, uint8_t *alert)
{
    while (*length > 0 && inner[*length - 1] == 0)
        (*length)--;
    if (*length == 0)
        return broken(alert, TLS_ALERT_UNEXPECTED_MESSAGE);
    uint8_t type = inner[--(*length)];
    return tls_record_take(records, engine, type, inner, length, alert);
}

enum tls_record_status tls_record_open(struct tls_records *records, struct tls_engine *engine,
                                       const uint8_t *in, size_t length, uint8_t *out,
                                       size_t *consumed, size_t *content_length, uint8_t *alert)
{
    *consumed = *content_length = 0;
    if (length < TLS_RECORD_HEADER_SIZE)
        return TLS_RECORD_PARTIAL;
    size_t sealed = (size_t)in[3] << 8 | in[4];
    if (in[0] != TLS_CONTENT_DATA)
        return broken(alert, TLS_ALERT_UNEXPECTED_MESSAGE);
    if (sealed > TLS_RECORD_SIZE_LIMIT - TLS_RECORD_HEADER_SIZE)
        return broken(alert, TLS_ALERT_RECORD_OVERFLOW);
    if (sealed <= TLS_RECORD_TAG_SIZE)
        return broken(alert, TLS_ALERT_DECODE_ERROR);
    if (length < TLS_RECORD_HEADER_SIZE + sealed)
        return TLS_RECORD_PARTIAL;

    *consumed = TLS_RECORD_HEADER_SIZE + sealed;
    if (!unseal(records, engine, in, sealed, out))
        return broken(alert, TLS_ALERT_BAD_RECORD_MAC);
    *content_length = sealed - TLS_RECORD_TAG_SIZE;
    return take_inner(records, engine, out, content_length, alert);
}
