/*
 * The Received field: each line of the input is a value that a client, or a resolver, chose. A
 * strict reader finds one field with the clauses that it should have, and no others.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/trace.h"
#include "test/unit/trace_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

enum { HELO, PTR, ADDRESS, LOGIN, VERSION, CIPHER, ID, HOSTNAME, VALUES };

/* The next value, which a byte 1 ends, in an allocation of its own size. */
static char *next_value(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size ? memchr(*data, 1, *size) : NULL;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t time = 0;
    char *values[VALUES], *out = malloc(SMTP_TRACE_SIZE);
    static struct trace_read read;
    if (size < sizeof time + 3) {
        free(out);
        return 0;
    }
    memcpy(&time, data, sizeof time);
    uint8_t flags = data[8], bits = data[9], offset = data[10];
    data += sizeof time + 3;
    size -= sizeof time + 3;
    for (int i = 0; i < VALUES; i++)
        values[i] = next_value(&data, &size);

    struct smtp_trace trace = {
        .helo = values[HELO],
        .ptr = values[PTR],
        .address = values[ADDRESS],
        .hostname = values[HOSTNAME],
        .esmtp = flags & 1,
        .authenticated = flags & 2,
        .login = values[LOGIN],
        .tls_version = values[VERSION],
        .tls_cipher = values[CIPHER],
        .tls_bits = bits,
        .id = values[ID],
        .time = time,
        .utc_offset_minutes = (offset - 128) * 15,
    };
    require(out != NULL);
    size_t length = smtp_trace_format(&trace, out);
    require(length <= SMTP_TRACE_SIZE && trace_fault(out, length, &read) == NULL);
    unsigned comments = (values[PTR][0] || values[ADDRESS][0] ? 1 : 0) +
                        (values[LOGIN][0] ? 1 : 0) + (values[VERSION][0] ? 1 : 0);
    require(read.comments == comments && (read.id[0] != '\0') == (values[ID][0] != '\0'));
    free(out);
    for (int i = 0; i < VALUES; i++)
        free(values[i]);
    return 0;
}
