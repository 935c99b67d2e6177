/*
 * XCLIENT commands: two bytes say what is offered and required, then each line is an
 * attribute's value. A strict backend reads them without fault, and has been told just these
 * values, or that they are not available, which no required value ever is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/smtp/xclient.h"
#include "test/unit/xclient_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The next line, with a NUL behind it and of its own size; more than one line at the end. */
static char *next_value(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    size_t length = end ? (size_t)(end - *data) : *size;
    char *value = malloc(length + 1);
    require(value != NULL);
    if (length)
        memcpy(value, *data, length);
    value[length] = '\0';
    *data += length + (end != NULL);
    *size -= length + (end != NULL);
    return value;
}

static void check_told(const struct xclient_told *told, const char *value, int attribute,
                       bool required)
{
    if (told->times[attribute] == 0)
        return;
    if (!told->unavailable[attribute])
        require(strcmp(told->value[attribute], value) == 0);
    else
        require(!required || value[0] == '\0');
}

static size_t encoded_length(const char *value)
{
    size_t length = 0;
    for (; *value; value++)
        length += *value > ' ' && *value < 127 && !strchr("+=\"()<>\\", *value) ? 1 : 3;
    return length;
}

/* A refusal has a reason: a required value that is long, or reserved, or, with all that must be
 * about them, too long together for the last command. */
static void check_refused(const struct smtp_xclient_identity *identity,
                          const struct smtp_xclient_commands *commands, uint32_t told)
{
    size_t last = 0;
    bool reason = false;
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++) {
        size_t length = (told >> i) & 1u ? encoded_length(identity->value[i]) : 0;
        reason = reason || length > SMTP_XCLIENT_VALUE_LIMIT ||
                 (length > 0 && identity->value[i][0] == '[');
        last += i >= SMTP_XCLIENT_LOGIN ? length : 0;
    }
    require(commands->count == 0 && (reason || last > 450));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_xclient_identity identity;
    struct xclient_told told;
    if (size < 2)
        return 0;
    uint32_t offered = data[0], required = data[1];
    data += 2;
    size -= 2;
    char *values[SMTP_XCLIENT_COUNT];
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
        identity.value[i] = values[i] = next_value(&data, &size);

    struct smtp_xclient_commands *commands = malloc(sizeof *commands);
    require(commands != NULL);
    if (smtp_xclient_format(&identity, offered, required, commands)) {
        require(xclient_fault(commands, offered, &told) == NULL);
        for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
            check_told(&told, values[i], i, (required >> i) & 1u);
    } else {
        check_refused(&identity, commands, offered & required);
    }
    free(commands);
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
        free(values[i]);
    return 0;
}
