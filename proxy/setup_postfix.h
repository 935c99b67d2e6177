/* What Postfix needs, for `postern setup`: a service of its own in master.cf, so that port 25
 * stays as it is. */
#ifndef POSTERN_SETUP_POSTFIX_H
#define POSTERN_SETUP_POSTFIX_H

#include <stdbool.h>
#include <stdio.h>

#include "proxy/base/address.h"

/* Returns whether master.cf has the service for Postern at that address of this host. */
bool setup_postfix_has_service(const char *address);

/*
 * Writes the loopback address of the service: where master.cf has it, or the first of a few
 * where nothing listens. 10025 comes first, but is often taken, as amavis gives mail back
 * there.
 */
void setup_postfix_address(char out[static ADDRESS_TEXT_SIZE]);

/* Writes, for people, the lines that make the service at `address` and those that remove it;
 * where master.cf has it, those that make it answer as it should. `speaks`: it speaks SMTP. */
void setup_postfix_explain(const char *address, bool speaks, FILE *out);

#endif
