/*
 * Records of TLS 1.3 from a client that has the keys and means harm: any content, any type, any
 * padding; and from one that has not. The first byte chooses the suite and which of the two.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tls/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t sealed[TLS_RECORD_SIZE_LIMIT], out[TLS_RECORD_SIZE_LIMIT];

static void hold(enum tls_record_status status, size_t consumed, size_t length, size_t given)
{
    assert(consumed <= given);
    assert(length <= TLS_RECORD_CONTENT_LIMIT || status == TLS_RECORD_BROKEN);
    assert(status != TLS_RECORD_PARTIAL || consumed == 0);
}

static void open_forged(struct tls_records *server, struct tls_engine *engine,
                        const uint8_t *data, size_t size)
{
    size_t consumed, length;
    uint8_t alert;
    enum tls_record_status status =
        tls_record_open(server, engine, data, size, out, &consumed, &length, &alert);
    hold(status, consumed, length, size);
    assert(status == TLS_RECORD_PARTIAL || status == TLS_RECORD_BROKEN);
}

static void open_sealed(struct tls_records *server, struct tls_records *client,
                        struct tls_engine *engine, uint8_t type, const uint8_t *data,
                        size_t size)
{
    size_t consumed, length;
    uint8_t alert;
    if (size > TLS_RECORD_CONTENT_LIMIT)
        return;
    size_t record = tls_record_seal(client, engine, (enum tls_content)type, data, size, sealed);
    assert(record == size + TLS_RECORD_OVERHEAD);
    enum tls_record_status status =
        tls_record_open(server, engine, sealed, record, out, &consumed, &length, &alert);
    hold(status, consumed, length, record);
    assert(consumed == record);
    if (type == TLS_CONTENT_DATA)
        assert(status == TLS_RECORD_DATA && length == size && memcmp(out, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t client_secret[TLS_SECRET_LIMIT] = {1},
                         server_secret[TLS_SECRET_LIMIT] = {2};
    static struct tls_engine *engine;
    struct tls_records server, client;
    if (size < 2)
        return 0;
    if (!engine)
        engine = tls_engine_new();
    int suite = data[0] % 3;
    if (!tls_records_init(&server, engine, suite, client_secret, server_secret, 0) ||
        !tls_records_init(&client, engine, suite, server_secret, client_secret, 0))
        abort();
    if (data[0] & 128)
        open_forged(&server, engine, data + 1, size - 1);
    else
        open_sealed(&server, &client, engine, data[1], data + 2, size - 2);
    tls_records_wipe(&server, engine);
    tls_records_wipe(&client, engine);
    return 0;
}
