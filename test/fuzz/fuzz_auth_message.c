/*
 * Datagrams between reactor and auth worker: what a reader takes, its writer writes again byte
 * for byte; what it refuses leaves nothing behind.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void require_zero(const void *message, size_t size)
{
    for (size_t i = 0; i < size; i++)
        require(((const char *)message)[i] == 0);
}

static bool check_request(const char *bytes, size_t length)
{
    struct auth_message_request request;
    char again[AUTH_MESSAGE_LIMIT];
    if (!auth_message_read_request(bytes, length, &request)) {
        require_zero(&request, sizeof request);
        return false;
    }
    require(sasl_name_valid(request.user, strlen(request.user)));
    require(request.password[0] && request.client_host[0]);
    require(auth_message_write_request(&request, again) == length);
    require(memcmp(again, bytes, length) == 0);
    return true;
}

static bool check_verdict(const char *bytes, size_t length)
{
    struct auth_message_verdict verdict;
    char again[AUTH_MESSAGE_LIMIT];
    if (!auth_message_read_verdict(bytes, length, &verdict)) {
        require_zero(&verdict, sizeof verdict);
        return false;
    }
    require(verdict.result < AUTH_RESULT_COUNT);
    require((verdict.result == AUTH_ACCEPTED) == (verdict.login[0] != '\0'));
    require(verdict.delay_ms <= AUTH_DELAY_LIMIT_MS);
    require(auth_message_write_verdict(&verdict, again) == length);
    require(memcmp(again, bytes, length) == 0);
    return true;
}

/* A field's bytes come behind one that says how many there are, in units of eight. */
static void fill(char *field, size_t room, const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return;
    size_t length = (size_t)(*data)[0] * 8;
    (*data)++;
    (*size)--;
    length = length < *size ? length : *size;
    memcpy(field, *data, length < room ? length : room);
    *data += length;
    *size -= length;
}

/* Whatever a writer is given, it writes what its reader takes, or nothing. */
static void check_writers(const uint8_t *data, size_t size)
{
    struct auth_message_request request;
    struct auth_message_verdict verdict;
    char bytes[AUTH_MESSAGE_LIMIT];

    memset(&request, 0, sizeof request);
    memset(&verdict, 0, sizeof verdict);
    fill(request.user, sizeof request.user, &data, &size);
    fill(request.password, sizeof request.password, &data, &size);
    fill(request.client_host, sizeof request.client_host, &data, &size);
    memcpy(verdict.login, request.user, sizeof verdict.login);
    memcpy(verdict.reason, request.password, sizeof verdict.reason);
    verdict.result = size % AUTH_RESULT_COUNT;
    verdict.is_last = size & 8;

    size_t length = auth_message_write_request(&request, bytes);
    require(length == 0 || check_request(bytes, length));
    length = auth_message_write_verdict(&verdict, bytes);
    require(length == 0 || check_verdict(bytes, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1);
    require(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    require(check_request(bytes, size) + check_verdict(bytes, size) <= 1);
    free(bytes);
    check_writers(data, size);
    return 0;
}
