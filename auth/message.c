/*
 * The datagrams between reactor and auth worker: a header of fixed size, then
 * fixed numbers, then strings that carry their lengths. Integers are
 * little-endian and written byte by byte, so no struct is ever sent.
 *
 *   "PA" version type id(8)   user password client_host                  request
 *   "PA" version type id(8)   result(1) last(1) delay(4) login reason    verdict
 *
 * Writers and readers walk one table of strings, so that what one refuses the
 * other does not write. Sends nothing and logs nothing.
 */
#include "auth/message.h"

#include <string.h>

#define MAGIC_0     'P'
#define MAGIC_1     'A'
#define VERSION     3
#define HEADER_SIZE 12
#define LENGTH_SIZE 2

enum message_type { TYPE_REQUEST = 1, TYPE_VERDICT = 2 };

struct text_field {
    size_t offset, limit;
    size_t minimum; /* bytes */
    bool secret;    /* any byte but NUL; otherwise no control character */
};

#define TEXT(type, field, minimum, secret)                                                     \
    {                                                                                          \
        offsetof(struct type, field), sizeof(((struct type *)0)->field) - 1, minimum, secret   \
    }

static const struct text_field request_texts[] = {
    TEXT(auth_message_request, user, 1, false),
    TEXT(auth_message_request, password, 1, true),
    TEXT(auth_message_request, client_host, 1, false),
};

static const struct text_field verdict_texts[] = {
    TEXT(auth_message_verdict, login, 0, false),
    TEXT(auth_message_verdict, reason, 0, false),
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

_Static_assert(AUTH_MESSAGE_LIMIT >= HEADER_SIZE + 3 * LENGTH_SIZE + SASL_USER_LIMIT +
                                         SASL_PASSWORD_LIMIT + ADDRESS_HOST_SIZE,
               "the longest request fits");
_Static_assert(AUTH_MESSAGE_LIMIT >=
                   HEADER_SIZE + 6 + 2 * LENGTH_SIZE + AUTH_LOGIN_LIMIT + AUTH_REASON_LIMIT,
               "the longest verdict fits");

static bool text_valid(const struct text_field *field, const char *text, size_t length)
{
    if (length < field->minimum || length > field->limit)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '\0' || (!field->secret && (byte < ' ' || byte == 0x7f)))
            return false;
    }
    return true;
}

/* A verdict names a login exactly when it accepts, and its delay is one that may be asked for.
 */
static bool verdict_valid(const struct auth_message_verdict *verdict)
{
    return verdict->result < AUTH_RESULT_COUNT && verdict->delay_ms <= AUTH_DELAY_LIMIT_MS &&
           (verdict->result == AUTH_ACCEPTED) == (verdict->login[0] != '\0');
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

/* NULL: one of them is not what a reader takes. */
static char *put_texts(char *at, const struct text_field *fields, size_t count,
                       const void *message)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = (const char *)message + fields[i].offset;
        size_t length = strnlen(text, fields[i].limit + 1);
        if (!text_valid(&fields[i], text, length))
            return NULL;
        at = put_number(at, length, LENGTH_SIZE);
        memcpy(at, text, length);
        at += length;
    }
    return at;
}

size_t auth_message_write_request(const struct auth_message_request *request,
                                  char out[static AUTH_MESSAGE_LIMIT])
{
    char *at = put_header(out, TYPE_REQUEST, request->id);
    at = put_texts(at, request_texts, COUNT(request_texts), request);
    if (!at) {
        explicit_bzero(out, AUTH_MESSAGE_LIMIT);
        return 0;
    }
    return (size_t)(at - out);
}

size_t auth_message_write_verdict(const struct auth_message_verdict *verdict,
                                  char out[static AUTH_MESSAGE_LIMIT])
{
    if (!verdict_valid(verdict))
        return 0;
    char *at = put_header(out, TYPE_VERDICT, verdict->id);
    at = put_number(at, verdict->result, 1);
    at = put_number(at, verdict->is_last, 1);
    at = put_number(at, verdict->delay_ms, 4);
    at = put_texts(at, verdict_texts, COUNT(verdict_texts), verdict);
    return at ? (size_t)(at - out) : 0;
}

/* What is left to read. */
struct cursor {
    const char *at;
    size_t left;
};

static bool take_number(struct cursor *in, size_t size, uint64_t *value)
{
    if (in->left < size)
        return false;
    *value = 0;
    for (size_t i = 0; i < size; i++)
        *value |= (uint64_t)(unsigned char)in->at[i] << 8 * i;
    in->at += size;
    in->left -= size;
    return true;
}

static bool take_header(struct cursor *in, enum message_type type, uint64_t *id)
{
    const char expected[] = {MAGIC_0, MAGIC_1, VERSION, (char)type};
    if (in->left < HEADER_SIZE || memcmp(in->at, expected, sizeof expected) != 0)
        return false;
    in->at += sizeof expected;
    in->left -= sizeof expected;
    return take_number(in, 8, id);
}

/* The last part of every message: nothing may follow it. */
static bool take_texts(struct cursor *in, const struct text_field *fields, size_t count,
                       void *message)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t length = 0;
        if (!take_number(in, LENGTH_SIZE, &length) || length > in->left ||
            !text_valid(&fields[i], in->at, length))
            return false;
        memcpy((char *)message + fields[i].offset, in->at, length);
        in->at += length;
        in->left -= length;
    }
    return in->left == 0;
}

bool auth_message_read_request(const char *bytes, size_t length,
                               struct auth_message_request *out)
{
    struct cursor in = {bytes, length};

    memset(out, 0, sizeof *out);
    if (take_header(&in, TYPE_REQUEST, &out->id) &&
        take_texts(&in, request_texts, COUNT(request_texts), out))
        return true;
    explicit_bzero(out, sizeof *out);
    return false;
}

static bool take_verdict(struct cursor *in, struct auth_message_verdict *out)
{
    uint64_t result = 0, last = 0, delay = 0;
    if (!take_header(in, TYPE_VERDICT, &out->id) || !take_number(in, 1, &result) ||
        !take_number(in, 1, &last) || !take_number(in, 4, &delay) || last > 1)
        return false;
    out->is_last = last == 1;
    out->result = (enum auth_result)result;
    out->delay_ms = (uint32_t)delay;
    return take_texts(in, verdict_texts, COUNT(verdict_texts), out) && verdict_valid(out);
}

bool auth_message_read_verdict(const char *bytes, size_t length,
                               struct auth_message_verdict *out)
{
    struct cursor in = {bytes, length};

    memset(out, 0, sizeof *out);
    if (take_verdict(&in, out))
        return true;
    memset(out, 0, sizeof *out);
    return false;
}
