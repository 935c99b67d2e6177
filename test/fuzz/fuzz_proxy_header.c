/*
 * The PROXY protocol: whatever comes, a header that is complete was asked for byte by byte
 * without asking for what follows it; and what it announces, written by us in both versions
 * with texts from the rest of the input, is read the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* In an allocation of its own size: over-reads are seen. */
static enum proxy_header_status read_exactly(const char *bytes, size_t length,
                                             struct proxy_header *out)
{
    char *exact = malloc(length ? length : 1);
    require(exact != NULL);
    if (length)
        memcpy(exact, bytes, length);
    enum proxy_header_status status = proxy_header_read(exact, length, out);
    free(exact);
    return status;
}

static bool same(const struct proxy_header_endpoint *a, const struct proxy_header_endpoint *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* A whole header at the start: every beginning of it wants more, and no more than is of it. */
static void check_beginnings(const char *bytes, const struct proxy_header *whole)
{
    for (size_t length = 0; length < whole->length; length++) {
        struct proxy_header header;
        require(read_exactly(bytes, length, &header) == PROXY_HEADER_MORE);
        require(header.wanted > 0 && header.wanted <= whole->length - length);
    }
    struct proxy_header header;
    require(read_exactly(bytes, whole->length, &header) == PROXY_HEADER_DONE);
    require(header.length == whole->length && same(&header.source, &whole->source) &&
            same(&header.destination, &whole->destination));
}

static void check_written(const struct proxy_header *announced, const char *text)
{
    struct proxy_header_identity identity = {
        .source = announced->source,
        .destination = announced->destination,
        .login = text,
        .client = (uint8_t)text[0],
        .certificate_name = text,
        .authority = text,
    };
    for (int version = PROXY_HEADER_V1; version <= PROXY_HEADER_V2; version++) {
        char out[PROXY_HEADER_SIZE];
        struct proxy_header header;
        size_t length =
            proxy_header_write((enum proxy_header_version)version, &identity, out, sizeof out);
        if (length == 0) {
            require(strlen(text) > 400 || announced->source.family == PROXY_HEADER_UNKNOWN);
            continue;
        }
        require(read_exactly(out, length, &header) == PROXY_HEADER_DONE);
        require(header.length == length && same(&header.source, &announced->source) &&
                same(&header.destination, &announced->destination));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct proxy_header header;
    enum proxy_header_status status = read_exactly(bytes, size, &header);
    if (status == PROXY_HEADER_MORE)
        require(header.wanted > 0 && size + header.wanted <= PROXY_HEADER_READ_LIMIT);
    if (status != PROXY_HEADER_DONE)
        return 0;
    require(header.length > 0 && header.length <= size);
    check_beginnings(bytes, &header);

    char *text = strndup(bytes + header.length, size - header.length);
    require(text != NULL);
    check_written(&header, text);
    free(text);
    return 0;
}
