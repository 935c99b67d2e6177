/*
 * What the tests of both halves of the PROXY protocol ask of a header. To be included behind
 * cmocka's header.
 */
#ifndef POSTERN_TEST_PROXY_HEADER_CHECKS_H
#define POSTERN_TEST_PROXY_HEADER_CHECKS_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/proxy_header.h"

/* From an allocation of its own size: a byte too many is seen. */
static inline enum proxy_header_status read_exactly(const void *bytes, size_t length,
                                                    struct proxy_header *out)
{
    char *exact = malloc(length ? length : 1);
    assert_non_null(exact);
    if (length)
        memcpy(exact, bytes, length);
    enum proxy_header_status status = proxy_header_read(exact, length, out);
    free(exact);
    return status;
}

static inline void assert_endpoint(const struct proxy_header_endpoint *endpoint,
                                   const char *host, unsigned port)
{
    char text[INET6_ADDRSTRLEN];
    assert_int_not_equal(endpoint->family, PROXY_HEADER_UNKNOWN);
    int af = endpoint->family == PROXY_HEADER_IPV4 ? AF_INET : AF_INET6;
    assert_non_null(inet_ntop(af, endpoint->bytes, text, sizeof text));
    assert_string_equal(text, host);
    assert_int_equal(endpoint->port, port);
}

#endif
