/*
 * A backend as a reactor knows it: what it offers to whoever asks from this
 * host, and whether it answers. As long as that is not known, or it does not,
 * or sessions make one doubt it, it is asked by a probe that speaks SMTP and
 * ends with QUIT; one that shares a listener with others is asked at intervals
 * for ever.
 */
#ifndef POSTERN_UPSTREAM_H
#define POSTERN_UPSTREAM_H

#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/replies.h"
#include "proxy/service.h"
#include "proxy/smtp/ehlo.h"

struct upstream;

/* Told after each change of what an upstream offers. */
typedef void upstream_changed(void *context);

/* `config` and what it calls must outlive it. NULL: no memory. */
MUST_USE struct upstream *upstream_new(struct service *service,
                                       const struct config_backend *config,
                                       upstream_changed *changed, void *context);
/* NULL is allowed. */
void upstream_free(struct upstream *upstream);

/* `checked`: goes on asking at the configured interval when it has answered. */
void upstream_begin_probing(struct upstream *upstream, bool checked);

const struct config_backend *upstream_config(const struct upstream *upstream);
/* Does it answer, as far as is known? True before the first attempt. */
bool upstream_is_up(const struct upstream *upstream);
/* False: it answers, and does not offer the XCLIENT attributes without which the configuration
 * refuses a session. True before the first answer. */
bool upstream_takes_identity(const struct upstream *upstream);
/* To a probe. NULL: it has not answered yet. */
const struct smtp_ehlo *upstream_offer(const struct upstream *upstream);

/* A session was opened there. */
void upstream_answered(struct upstream *upstream);
/* It offers something else than before, as it seems: is asked again, once in five seconds. */
void upstream_ask(struct upstream *upstream);
/* A session could not be opened there: it is asked by probes, the first after a second. */
void upstream_failed(struct upstream *upstream, const char *cause);
/* The same, where it may be the client's fault: a probe is to decide, one in a second. */
void upstream_doubt(struct upstream *upstream);

/* Counts an attempt to open a session there: REPLY_NONE if it was, what the client hears
 * otherwise, and how long it took. */
void upstream_count(const struct upstream *upstream, enum reply reply, uint64_t elapsed_ms);

#endif
