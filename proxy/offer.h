/*
 * What EHLO offers: the backend's own extensions, learned by asking it when
 * the reactor starts and again with each session that is opened; until it has
 * answered once, nothing but what Postern does itself. The replies are
 * written once for each change, not for each client.
 */
#ifndef POSTERN_OFFER_H
#define POSTERN_OFFER_H

#include <stddef.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/smtp/ehlo.h"

struct offer;
struct service;

MUST_USE struct offer *offer_new(const struct config *config);
void offer_free(struct offer *offer);

/* A backend answered EHLO with this. */
void offer_learn(struct offer *offer, const struct smtp_ehlo *ehlo);

/* Asks the backend until it has answered once; further sessions keep the offer fresh. */
void offer_begin_probing(struct offer *offer, struct service *service);

enum offer_stage { OFFER_PLAINTEXT, OFFER_SECURE };

/* The whole reply to EHLO before authentication: STARTTLS in plaintext, AUTH under TLS. */
const char *offer_ehlo(const struct offer *offer, enum offer_stage stage, size_t *length);

#endif
