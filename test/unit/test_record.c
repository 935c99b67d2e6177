/* The record layer of TLS 1.3: RFC 8448's example, both directions, and everything malformed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tls/record.h"

/* RFC 8448 section 3, "simple 1-RTT handshake". */
static const uint8_t client_secret[48] = {0x9e, 0x40, 0x64, 0x6c, 0xe7, 0x9a, 0x7f, 0x9d,
                                          0xc0, 0x5a, 0xf8, 0x88, 0x9b, 0xce, 0x65, 0x52,
                                          0x87, 0x5a, 0xfa, 0x0b, 0x06, 0xdf, 0x00, 0x87,
                                          0xf7, 0x92, 0xeb, 0xb7, 0xc1, 0x75, 0x04, 0xa5};
static const uint8_t server_secret[48] = {0xa1, 0x1a, 0xf9, 0xf0, 0x55, 0x31, 0xf8, 0x56,
                                          0xad, 0x47, 0x11, 0x6b, 0x45, 0xa9, 0x50, 0x32,
                                          0x82, 0x04, 0xb4, 0xf4, 0x4b, 0xfb, 0x6b, 0x3a,
                                          0x4b, 0x4f, 0x1f, 0x3f, 0xcb, 0x63, 0x16, 0x43};

struct pair {
    struct tls_engine *engine;
    struct tls_records server, client;
};

static void make_pair(struct pair *pair, int suite)
{
    pair->engine = tls_engine_new();
    assert_non_null(pair->engine);
    assert_true(
        tls_records_init(&pair->server, pair->engine, suite, client_secret, server_secret, 0));
    assert_true(
        tls_records_init(&pair->client, pair->engine, suite, server_secret, client_secret, 0));
}

static void free_pair(struct pair *pair)
{
    tls_records_wipe(&pair->server, pair->engine);
    tls_records_wipe(&pair->client, pair->engine);
    tls_engine_free(pair->engine);
}

static size_t client_seals(struct pair *pair, enum tls_content type, const void *content,
                           size_t length, uint8_t *out)
{
    size_t size = tls_record_seal(&pair->client, pair->engine, type, content, length, out);
    assert_int_equal(size, length + TLS_RECORD_OVERHEAD);
    return size;
}

static enum tls_record_status server_opens(struct pair *pair, const uint8_t *in, size_t length,
                                           uint8_t *out, size_t *content, uint8_t *alert)
{
    size_t consumed;
    return tls_record_open(&pair->server, pair->engine, in, length, out, &consumed, content,
                           alert);
}

static void test_keys_and_record_of_rfc_8448(void **state)
{
    static const uint8_t key[] = {0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e, 0xd5, 0xd9,
                                  0xac, 0xd8, 0x90, 0xe3, 0xc6, 0x3f, 0x50, 0x51};
    static const uint8_t iv[] = {0x5b, 0x78, 0x92, 0x3d, 0xee, 0x08,
                                 0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9};
    static const uint8_t record[] = {
        0x17, 0x03, 0x03, 0x00, 0x43, 0xa2, 0x3f, 0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0,
        0xaf, 0xfa, 0xfe, 0x82, 0x28, 0xba, 0x55, 0xcb, 0xef, 0xac, 0xea, 0x42, 0xf9,
        0x14, 0xaa, 0x66, 0xbc, 0xab, 0x3f, 0x2b, 0x98, 0x19, 0xa8, 0xa5, 0xb4, 0x6b,
        0x39, 0x5b, 0xd5, 0x4a, 0x9a, 0x20, 0x44, 0x1e, 0x2b, 0x62, 0x97, 0x4e, 0x1f,
        0x5a, 0x62, 0x92, 0xa2, 0x97, 0x70, 0x14, 0xbd, 0x1e, 0x3d, 0xea, 0xe6, 0x3a,
        0xee, 0xbb, 0x21, 0x69, 0x49, 0x15, 0xe4, 0x0a};
    struct pair pair;
    uint8_t out[sizeof record], alert;
    size_t length;
    (void)state;

    make_pair(&pair, tls_suite_lookup("TLS_AES_128_GCM_SHA256"));
    assert_memory_equal(pair.server.in.key, key, sizeof key);
    assert_memory_equal(pair.server.in.iv, iv, sizeof iv);
    assert_int_equal(server_opens(&pair, record, sizeof record, out, &length, &alert),
                     TLS_RECORD_DATA);
    assert_int_equal(length, 50);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(out[i], i);
    free_pair(&pair);
}

static void test_every_suite_carries_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, TLS_RECORD_CONTENT_LIMIT};
    static uint8_t content[TLS_RECORD_CONTENT_LIMIT], sealed[TLS_RECORD_SIZE_LIMIT],
        out[TLS_RECORD_SIZE_LIMIT];
    (void)state;
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i * 7);
    for (int suite = 0; suite < 3; suite++) {
        struct pair pair;
        make_pair(&pair, suite);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t length,
                size = client_seals(&pair, TLS_CONTENT_DATA, content, sizes[i], sealed);
            uint8_t alert;
            assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert),
                             TLS_RECORD_DATA);
            assert_int_equal(length, sizes[i]);
            assert_memory_equal(out, content, length);
        }
        free_pair(&pair);
    }
}

static void test_two_sessions_that_take_turns_keep_their_keys(void **state)
{
    struct pair a, b;
    uint8_t sealed[64], out[64], alert;
    size_t length;
    (void)state;
    make_pair(&a, 0);
    make_pair(&b, 2);
    tls_engine_free(b.engine);
    b.engine = a.engine;
    for (int turn = 0; turn < 6; turn++) {
        struct pair *now = turn % 2 ? &a : &b;
        size_t size = client_seals(now, TLS_CONTENT_DATA, "NOOP", 4, sealed);
        assert_int_equal(server_opens(now, sealed, size, out, &length, &alert),
                         TLS_RECORD_DATA);
        assert_memory_equal(out, "NOOP", 4);
    }
    tls_records_wipe(&b.server, b.engine);
    tls_records_wipe(&b.client, b.engine);
    free_pair(&a);
}

static void test_a_part_of_a_record_is_waited_for(void **state)
{
    struct pair pair;
    uint8_t sealed[64], out[64], alert;
    size_t length;
    (void)state;
    make_pair(&pair, 0);
    size_t size = client_seals(&pair, TLS_CONTENT_DATA, "QUIT\r\n", 6, sealed);
    for (size_t part = 0; part < size; part++)
        assert_int_equal(server_opens(&pair, sealed, part, out, &length, &alert),
                         TLS_RECORD_PARTIAL);
    assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert), TLS_RECORD_DATA);
    free_pair(&pair);
}

static void test_a_changed_bit_anywhere_is_found(void **state)
{
    uint8_t sealed[64], out[64];
    (void)state;
    for (size_t at = 0; at < 6 + TLS_RECORD_OVERHEAD; at++) {
        struct pair pair;
        uint8_t alert = 0;
        size_t length;
        make_pair(&pair, 1);
        size_t size = client_seals(&pair, TLS_CONTENT_DATA, "QUIT\r\n", 6, sealed);
        sealed[at] ^= 1;
        enum tls_record_status status = server_opens(&pair, sealed, size, out, &length, &alert);
        assert_true(status == TLS_RECORD_BROKEN || (at == 4 && status == TLS_RECORD_PARTIAL) ||
                    (at == 3 && status == TLS_RECORD_PARTIAL));
        free_pair(&pair);
    }
}

static void test_a_record_twice_is_found(void **state)
{
    struct pair pair;
    uint8_t sealed[64], out[64], alert = 0;
    size_t length;
    (void)state;
    make_pair(&pair, 0);
    size_t size = client_seals(&pair, TLS_CONTENT_DATA, "RSET", 4, sealed);
    assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert), TLS_RECORD_DATA);
    assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert),
                     TLS_RECORD_BROKEN);
    assert_int_equal(alert, 20);
    free_pair(&pair);
}

static void test_headers_that_cannot_be(void **state)
{
    static const struct {
        uint8_t header[5], alert;
    } cases[] = {
        {{22, 3, 3, 0, 40}, 10},      /* a handshake in plaintext */
        {{20, 3, 3, 0, 1}, 10},       /* change_cipher_spec, too late */
        {{23, 3, 3, 0, 16}, 50},      /* nothing but a tag */
        {{23, 3, 3, 0, 0}, 50},       /* nothing */
        {{23, 3, 3, 0x41, 0x01}, 22}, /* one byte too long */
        {{23, 3, 3, 0xff, 0xff}, 22},
    };
    struct pair pair;
    (void)state;
    make_pair(&pair, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[64], alert = 0;
        size_t length;
        assert_int_equal(server_opens(&pair, cases[i].header, 5, out, &length, &alert),
                         TLS_RECORD_BROKEN);
        assert_int_equal(alert, cases[i].alert);
    }
    free_pair(&pair);
}

static void test_keys_change_on_request_and_unasked(void **state)
{
    static const uint8_t request[] = {24, 0, 0, 1, 1};
    struct pair pair;
    uint8_t sealed[64], out[64], alert = 0;
    size_t length, consumed;
    (void)state;
    make_pair(&pair, 0);

    size_t size = tls_record_update_key(&pair.client, pair.engine, sealed);
    assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert),
                     TLS_RECORD_KEY_UPDATE);
    assert_int_equal(length, 0);
    size = client_seals(&pair, TLS_CONTENT_DATA, "NOOP", 4, sealed);
    assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert), TLS_RECORD_DATA);

    size = client_seals(&pair, TLS_CONTENT_HANDSHAKE, request, sizeof request, sealed);
    assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert),
                     TLS_RECORD_KEY_UPDATE);
    assert_int_equal(length, 1);

    size = tls_record_update_key(&pair.server, pair.engine, sealed);
    assert_int_equal(tls_record_open(&pair.client, pair.engine, sealed, size, out, &consumed,
                                     &length, &alert),
                     TLS_RECORD_KEY_UPDATE);
    size = tls_record_seal(&pair.server, pair.engine, TLS_CONTENT_DATA, "250", 3, sealed);
    assert_int_equal(tls_record_open(&pair.client, pair.engine, sealed, size, out, &consumed,
                                     &length, &alert),
                     TLS_RECORD_DATA);
    free_pair(&pair);
}

static void test_what_may_not_come_after_the_handshake(void **state)
{
    static const struct {
        enum tls_content type;
        uint8_t content[8];
        size_t length;
        enum tls_record_status status;
        uint8_t alert;
    } cases[] = {
        {TLS_CONTENT_ALERT, {1, 0}, 2, TLS_RECORD_CLOSE, 0},
        {TLS_CONTENT_ALERT, {2, 40}, 2, TLS_RECORD_BROKEN, 0},
        {TLS_CONTENT_ALERT, {1, 90}, 2, TLS_RECORD_DATA, 0}, /* user_canceled */
        {TLS_CONTENT_ALERT, {1}, 1, TLS_RECORD_BROKEN, 50},
        {TLS_CONTENT_HANDSHAKE, {1, 0, 0, 0}, 4, TLS_RECORD_BROKEN, 10},
        {TLS_CONTENT_HANDSHAKE, {24, 0, 0, 1, 2}, 5, TLS_RECORD_BROKEN, 50},
        {TLS_CONTENT_HANDSHAKE, {24, 0, 0, 1, 0, 24}, 6, TLS_RECORD_BROKEN, 10},
        {TLS_CONTENT_HANDSHAKE, {0}, 0, TLS_RECORD_BROKEN, 10},
        {(enum tls_content)20, {1}, 1, TLS_RECORD_BROKEN, 10},
        {(enum tls_content)0, {0}, 0, TLS_RECORD_BROKEN, 10}, /* padding only */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair pair;
        uint8_t sealed[64], out[64], alert = 0;
        size_t length;
        make_pair(&pair, 0);
        size_t size =
            client_seals(&pair, cases[i].type, cases[i].content, cases[i].length, sealed);
        assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert),
                         cases[i].status);
        assert_int_equal(alert, cases[i].alert);
        free_pair(&pair);
    }
}

/* RFC 8446 section 5.4: zeros behind the type are padding. Sealed as content, type and zeros.
 */
static void test_padding_is_taken_off(void **state)
{
    static const uint8_t padded[] = {'N', 'O', 'O', 'P', TLS_CONTENT_DATA, 0, 0, 0};
    struct pair pair;
    uint8_t sealed[64], out[64], alert = 0;
    size_t length;
    (void)state;
    make_pair(&pair, 0);
    size_t size = client_seals(&pair, (enum tls_content)0, padded, sizeof padded, sealed);
    assert_int_equal(server_opens(&pair, sealed, size, out, &length, &alert), TLS_RECORD_DATA);
    assert_int_equal(length, 4);
    free_pair(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_record_of_rfc_8448),
        cmocka_unit_test(test_every_suite_carries_every_size),
        cmocka_unit_test(test_two_sessions_that_take_turns_keep_their_keys),
        cmocka_unit_test(test_a_part_of_a_record_is_waited_for),
        cmocka_unit_test(test_a_changed_bit_anywhere_is_found),
        cmocka_unit_test(test_a_record_twice_is_found),
        cmocka_unit_test(test_headers_that_cannot_be),
        cmocka_unit_test(test_keys_change_on_request_and_unasked),
        cmocka_unit_test(test_what_may_not_come_after_the_handshake),
        cmocka_unit_test(test_padding_is_taken_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
