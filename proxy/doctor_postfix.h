/* What repairs a Postfix that is a backend, as a line that its postmaster types. */
#ifndef POSTERN_DOCTOR_POSTFIX_H
#define POSTERN_DOCTOR_POSTFIX_H

#include <stdbool.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/config.h"

enum doctor_postfix_lack {
    DOCTOR_POSTFIX_XCLIENT, /* it does not let Postern say who its clients are */
    DOCTOR_POSTFIX_LOGIN,   /* it does not believe the login, or does not let it relay */
    DOCTOR_POSTFIX_TLS,     /* it wants TLS first */
};

#define DOCTOR_POSTFIX_SIZE 384

enum doctor_postfix_service {
    DOCTOR_POSTFIX_NONE,
    DOCTOR_POSTFIX_OTHER,
    DOCTOR_POSTFIX_OURS, /* the one that the manual shows, by its syslog_name */
};

/* Looks for an entry of master.cf at that address. */
enum doctor_postfix_service doctor_postfix_service_at(const struct address *address);

/* Where the service for Postern may be, the first of them the manual's. */
#define DOCTOR_POSTFIX_ADDRESSES 3
extern const char *const doctor_postfix_addresses[DOCTOR_POSTFIX_ADDRESSES];

/* Returns the one of these addresses at which master.cf has the service for Postern; NULL: none
 * of them. */
const char *doctor_postfix_own(void);

/*
 * Writes what to type if nothing listens at the backend's address. False: Postfix is not
 * installed, or the address is not of this host.
 */
MUST_USE bool doctor_postfix_start(const struct config_backend *backend,
                                   char out[static DOCTOR_POSTFIX_SIZE]);

/*
 * Writes "postconf -Pe …, then postfix reload" for the service at the backend's address. For
 * port 25, which is for strangers, it is what makes a service for Postern instead.
 */
void doctor_postfix_line(const struct config_backend *backend, enum doctor_postfix_lack lack,
                         char out[static DOCTOR_POSTFIX_SIZE]);

#endif
