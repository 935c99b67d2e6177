/*
 * What a program learns of its session besides its arguments: the variables
 * of UCSPI (tcpserver and its like), which qmail-smtpd and Courier's esmtpd
 * read. Pure; nothing of the opener's own environment is in it.
 */
#ifndef POSTERN_OPENER_ENVIRONMENT_H
#define POSTERN_OPENER_ENVIRONMENT_H

#include "proxy/base/compiler.h"
#include "proxy/opener_message.h"
#include "proxy/opener_settings.h"
#include "proxy/program_line.h"

/* The values for a program's line; those that are not known are NULL. */
struct opener_values {
    const char *value[PROGRAM_VALUE_COUNT];
    char address[ADDRESS_HOST_SIZE], port[6];
    char local_address[ADDRESS_HOST_SIZE], local_port[6];
    char protocol[8];
};
/* Points into `order`, which must stay. */
void opener_values_set(struct opener_values *out, const struct opener_order *order);

#define OPENER_VARIABLE_LIMIT    16
#define OPENER_ENVIRONMENT_LIMIT 2048
struct opener_environment {
    char *variables[OPENER_VARIABLE_LIMIT + 1]; /* "NAME=value", and a NULL */
    char text[OPENER_ENVIRONMENT_LIMIT];
};

/* Returns false if it does not fit. */
MUST_USE bool opener_environment_set(struct opener_environment *out,
                                     const struct opener_values *values,
                                     const struct opener_order *order,
                                     const struct opener_backend *backend,
                                     const char *hostname);

#endif
