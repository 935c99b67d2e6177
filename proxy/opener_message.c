/*
 * The datagrams between a reactor and its opener. Integers are little-endian and written byte
 * by byte, so no struct is ever sent.
 *
 *   "PO" version type id(8)  backend(2) flags(1) client local texts    order
 *   "PO" version type id(8)  error(2)                                  answer
 *
 * An address is a kind (0: none, 4, 6), a port of two bytes and sixteen bytes, zero where they
 * are not used; a text is a length of one byte and its bytes. Sends nothing and logs nothing.
 */
#include "proxy/opener_message.h"

#include <string.h>

#define MAGIC_0      'P'
#define MAGIC_1      'O'
#define VERSION      1
#define ADDRESS_SIZE 16

enum message_type { TYPE_ORDER = 1, TYPE_ANSWER = 2 };
enum order_flag { FLAG_ESMTP = 1, FLAG_PROBE = 2, FLAGS_ALL = 3 };
enum address_kind { KIND_NONE = 0, KIND_V4 = 4, KIND_V6 = 6 };

static const struct text_field {
    size_t offset, limit;
} texts[] = {
    {offsetof(struct opener_order, login), OPENER_LOGIN_LIMIT},
    {offsetof(struct opener_order, mechanism), OPENER_MECHANISM_LIMIT},
    {offsetof(struct opener_order, helo), OPENER_NAME_LIMIT},
    {offsetof(struct opener_order, host), OPENER_NAME_LIMIT},
    {offsetof(struct opener_order, tls), OPENER_TLS_LIMIT},
};
#define TEXTS (sizeof texts / sizeof texts[0])

_Static_assert(OPENER_MESSAGE_LIMIT >= 12 + 3 + 2 * (3 + ADDRESS_SIZE) + 5 +
                                           OPENER_LOGIN_LIMIT + OPENER_MECHANISM_LIMIT +
                                           2 * OPENER_NAME_LIMIT + OPENER_TLS_LIMIT,
               "the longest order fits");

static bool text_valid(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    return true;
}

static char *put_number(char *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        *at++ = (char)(value >> 8 * i & 0xff);
    return at;
}

static char *put_header(char *at, enum message_type type, uint64_t id)
{
    *at++ = MAGIC_0;
    *at++ = MAGIC_1;
    *at++ = VERSION;
    *at++ = (char)type;
    return put_number(at, id, 8);
}

static char *put_address(char *at, const struct address *address)
{
    int family = address->length > 0 ? address->any.sa_family : AF_UNSPEC;
    bool internet = family == AF_INET || family == AF_INET6;
    char bytes[ADDRESS_SIZE] = {0};
    uint64_t kind = KIND_NONE;
    if (family == AF_INET) {
        kind = KIND_V4;
        memcpy(bytes, &address->v4.sin_addr, sizeof address->v4.sin_addr);
    } else if (family == AF_INET6) {
        kind = KIND_V6;
        memcpy(bytes, &address->v6.sin6_addr, sizeof address->v6.sin6_addr);
    }
    at = put_number(at, kind, 1);
    at = put_number(at, internet ? address_port(address) : 0, 2);
    memcpy(at, bytes, sizeof bytes);
    return at + sizeof bytes;
}

/* NULL: one of them is not what a reader takes. */
static char *put_texts(char *at, const struct opener_order *order)
{
    for (size_t i = 0; i < TEXTS; i++) {
        const char *text = (const char *)order + texts[i].offset;
        size_t length = strnlen(text, texts[i].limit + 1);
        if (length > texts[i].limit || !text_valid(text, length))
            return NULL;
        at = put_number(at, length, 1);
        memcpy(at, text, length);
        at += length;
    }
    return at;
}

size_t opener_message_write_order(const struct opener_order *order,
                                  char out[static OPENER_MESSAGE_LIMIT])
{
    char *at = put_header(out, TYPE_ORDER, order->id);
    at = put_number(at, order->backend, 2);
    at = put_number(at, (order->esmtp ? FLAG_ESMTP : 0) | (order->probe ? FLAG_PROBE : 0), 1);
    at = put_address(at, &order->client);
    at = put_address(at, &order->local);
    at = put_texts(at, order);
    return at ? (size_t)(at - out) : 0;
}

size_t opener_message_write_answer(const struct opener_answer *answer,
                                   char out[static OPENER_MESSAGE_LIMIT])
{
    if (answer->error < 0 || answer->error > OPENER_ERROR_LIMIT)
        return 0;
    char *at = put_header(out, TYPE_ANSWER, answer->id);
    return (size_t)(put_number(at, (uint64_t)answer->error, 2) - out);
}

/* What is left to read. */
struct cursor {
    const char *at;
    size_t left;
};

static const char *take(struct cursor *in, size_t size)
{
    if (in->left < size)
        return NULL;
    const char *bytes = in->at;
    in->at += size;
    in->left -= size;
    return bytes;
}

static bool take_number(struct cursor *in, size_t size, uint64_t *value)
{
    const char *bytes = take(in, size);
    *value = 0;
    for (size_t i = 0; bytes && i < size; i++)
        *value |= (uint64_t)(unsigned char)bytes[i] << 8 * i;
    return bytes != NULL;
}

static bool take_header(struct cursor *in, enum message_type type, uint64_t *id)
{
    const char expected[] = {MAGIC_0, MAGIC_1, VERSION, (char)type};
    const char *bytes = take(in, sizeof expected);
    return bytes && memcmp(bytes, expected, sizeof expected) == 0 && take_number(in, 8, id);
}

static bool all_zero(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static bool take_address(struct cursor *in, struct address *out)
{
    uint64_t kind, port;
    if (!take_number(in, 1, &kind) || !take_number(in, 2, &port))
        return false;
    const char *bytes = take(in, ADDRESS_SIZE);
    if (!bytes)
        return false;
    if (kind == KIND_V4 && all_zero(bytes + 4, ADDRESS_SIZE - 4)) {
        out->length = sizeof out->v4;
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)port);
        memcpy(&out->v4.sin_addr, bytes, sizeof out->v4.sin_addr);
        return true;
    }
    if (kind == KIND_V6) {
        out->length = sizeof out->v6;
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)port);
        memcpy(&out->v6.sin6_addr, bytes, sizeof out->v6.sin6_addr);
        return true;
    }
    return kind == KIND_NONE && port == 0 && all_zero(bytes, ADDRESS_SIZE);
}

/* The last part of an order: nothing may follow it. */
static bool take_texts(struct cursor *in, struct opener_order *out)
{
    for (size_t i = 0; i < TEXTS; i++) {
        uint64_t length;
        if (!take_number(in, 1, &length) || length > texts[i].limit)
            return false;
        const char *bytes = take(in, length);
        if (!bytes || !text_valid(bytes, length))
            return false;
        memcpy((char *)out + texts[i].offset, bytes, length);
    }
    return in->left == 0;
}

static bool take_order(struct cursor *in, struct opener_order *out)
{
    uint64_t backend, flags;
    if (!take_header(in, TYPE_ORDER, &out->id) || !take_number(in, 2, &backend) ||
        !take_number(in, 1, &flags) || flags > FLAGS_ALL)
        return false;
    out->backend = (uint16_t)backend;
    out->esmtp = flags & FLAG_ESMTP;
    out->probe = flags & FLAG_PROBE;
    return take_address(in, &out->client) && take_address(in, &out->local) &&
           take_texts(in, out);
}

bool opener_message_read_order(const char *bytes, size_t length, struct opener_order *out)
{
    struct cursor in = {bytes, length};
    memset(out, 0, sizeof *out);
    if (take_order(&in, out))
        return true;
    memset(out, 0, sizeof *out);
    return false;
}

bool opener_message_read_answer(const char *bytes, size_t length, struct opener_answer *out)
{
    struct cursor in = {bytes, length};
    uint64_t error = 0;
    memset(out, 0, sizeof *out);
    if (take_header(&in, TYPE_ANSWER, &out->id) && take_number(&in, 2, &error) &&
        error <= OPENER_ERROR_LIMIT && in.left == 0) {
        out->error = (int)error;
        return true;
    }
    memset(out, 0, sizeof *out);
    return false;
}
