/* The mail server of this host, for `postern setup`: finding it, and what it and Postern need
 * to know of each other. */
#ifndef POSTERN_SETUP_SERVER_H
#define POSTERN_SETUP_SERVER_H

#include <stdbool.h>
#include <stdio.h>

#include "proxy/base/address.h"
#include "proxy/setup_hostname.h"

struct setup_server_kind;

struct setup_server {
    bool answers;                         /* something that speaks SMTP is at the address */
    char address[ADDRESS_TEXT_SIZE];      /* of the backend */
    char greeted[SETUP_HOSTNAME_SIZE];    /* the name in its greeting; "": none */
    bool chosen;                          /* the postmaster has named the address */
    bool ready;                           /* it offers XCLIENT, on a port other than 25 */
    char own[ADDRESS_TEXT_SIZE];          /* of the port that is for Postern alone; "": none */
    const struct setup_server_kind *kind; /* NULL: none that we know */
};

/* Looks at `address`, or if it is NULL for whatever mail server listens on this host. */
void setup_server_find(struct setup_server *server, const char *address);

/* "Postfix"; NULL: it is not known. */
const char *setup_server_name(const struct setup_server *server);

/* The name that this host's server greets with; "": it does not, or is of another host. */
const char *setup_server_greeted(const struct setup_server *server);

/* Returns the address that the configuration will have, unless a program takes its place. */
const char *setup_server_address(const struct setup_server *server);

/* The section backend of the configuration. */
void setup_server_write(const struct setup_server *server, FILE *out);

/* What it needs, for people. */
void setup_server_explain(const struct setup_server *server, FILE *out);

#endif
