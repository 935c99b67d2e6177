/*
 * Datagrams between a reactor and its opener: what a reader takes, its writer writes again byte
 * for byte; what it refuses leaves nothing behind.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/opener_message.h"

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

static bool check_order(const char *bytes, size_t length)
{
    struct opener_order order;
    char again[OPENER_MESSAGE_LIMIT];
    if (!opener_message_read_order(bytes, length, &order)) {
        require_zero(&order, sizeof order);
        return false;
    }
    require(opener_message_write_order(&order, again) == length);
    require(memcmp(again, bytes, length) == 0);
    return true;
}

static bool check_answer(const char *bytes, size_t length)
{
    struct opener_answer answer;
    char again[OPENER_MESSAGE_LIMIT];
    if (!opener_message_read_answer(bytes, length, &answer)) {
        require_zero(&answer, sizeof answer);
        return false;
    }
    require(opener_message_write_answer(&answer, again) == length);
    require(memcmp(again, bytes, length) == 0);
    return true;
}

/* Whatever the writer is given, it writes what its reader takes, or nothing. */
static void check_writer(const uint8_t *data, size_t size)
{
    struct opener_order order = {0};
    char bytes[OPENER_MESSAGE_LIMIT];
    size_t room = sizeof order.login;
    memcpy(order.login, data, size < room ? size : room);
    if (size > room)
        memcpy(order.helo, data + room,
               size - room < sizeof order.helo ? size - room : sizeof order.helo);
    size_t length = opener_message_write_order(&order, bytes);
    require(length == 0 || check_order(bytes, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1);
    require(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    bool order = check_order(bytes, size);
    require(!(check_answer(bytes, size) && order));
    if (size)
        check_writer(data, size);
    free(bytes);
    return 0;
}
