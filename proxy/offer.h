/*
 * What one listener's clients may be offered of one backend: what that says to a probe, less
 * what it does not show to those who come through this listener. It may tell them apart by
 * their addresses, so a probe, which comes from this host, knows too little, and one client's
 * session too much or too little of the others.
 *
 * What the first session is not shown, and later two clients one after the other, is offered to
 * nobody from then on, and again when several sessions in a row have been shown it. A client to
 * whom less is shown than to others is remembered: he is not offered what he would be refused,
 * and his next sessions say nothing about the others.
 */
#ifndef POSTERN_OFFER_H
#define POSTERN_OFFER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/smtp/ehlo.h"

struct offer;

/* So many sessions in a row bring back what they were all shown. */
#define OFFER_ROW 3u

/* NULL: no memory. */
MUST_USE struct offer *offer_new(void);
/* NULL is allowed. */
void offer_free(struct offer *offer);

/* A client's session was shown this, behind its identity; `probed` is what a probe was. True:
 * offer_restrict() takes away something else than before. */
MUST_USE bool offer_learn(struct offer *offer, const struct smtp_ehlo *probed,
                          const struct address *client, const struct smtp_ehlo *shown);

/* Takes from what a probe was shown what sessions were not. */
void offer_restrict(const struct offer *offer, struct smtp_ehlo *probed);

/* What of this this client is not shown, although others are: bits 1u << enum smtp_extension.
 */
uint32_t offer_kept_from(const struct offer *offer, const struct smtp_ehlo *offered,
                         const struct address *client);

#endif
