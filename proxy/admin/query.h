/*
 * What stands behind the "?" of a request: parameters from a given list, each
 * once at most, strictly as in application/x-www-form-urlencoded. Pure.
 */
#ifndef POSTERN_ADMIN_QUERY_H
#define POSTERN_ADMIN_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"
#include "proxy/base/network.h"

/* Longest value, in bytes with its NUL: a login, decoded. */
#define ADMIN_QUERY_VALUE_SIZE 256

enum admin_parameter {
    ADMIN_PARAMETER_ID,
    ADMIN_PARAMETER_USER,
    ADMIN_PARAMETER_ADDRESS,
    ADMIN_PARAMETER_LEVEL,
    ADMIN_PARAMETER_LIMIT,
    ADMIN_PARAMETER_FOR,
    ADMIN_PARAMETER_EVENT,
    ADMIN_PARAMETERS,
};

struct admin_query {
    bool given[ADMIN_PARAMETERS];
    char value[ADMIN_PARAMETERS][ADMIN_QUERY_VALUE_SIZE];
};

/*
 * Reads `text` ("user=alice&address=192.0.2.1"; empty: nothing is given). Only the parameters
 * whose bits 1u << enum admin_parameter are in `allowed` may be there. Returns NULL, or what is
 * wrong (static text), and then *out is zero.
 */
MUST_USE const char *admin_query_parse(const char *text, size_t length, unsigned allowed,
                                       struct admin_query *out);

/* The address or network that is given; NULL, or what is wrong (good until the next call). */
MUST_USE const char *admin_query_network(const struct admin_query *query, struct network *out);

/* "address" */
const char *admin_parameter_name(enum admin_parameter parameter);

#endif
