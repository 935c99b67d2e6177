/*
 * The EHLO reply before authentication. Read by every session's dialogue, fed by backends, and
 * by a probe of its own for as long as nothing is known.
 */
#include "proxy/offer.h"

#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"
#include "proxy/backend.h"
#include "proxy/base/log.h"
#include "proxy/service.h"

#define PROBE_FIRST_WAIT_S 1
#define PROBE_LAST_WAIT_S  30

struct offer {
    const struct config *config;
    char mechanisms[64]; /* "PLAIN LOGIN" */
    struct smtp_ehlo learned;
    bool known;
    struct {
        size_t length;
        char text[SMTP_EHLO_TEXT_SIZE];
    } ehlo[2]; /* by enum offer_stage */

    struct service *service;
    struct backend *probe; /* NULL: none is under way */
    struct event timer;
    int wait_s;
};

static void write_replies(struct offer *offer)
{
    struct smtp_ehlo_own own = {
        .hostname = offer->config->hostname,
        .starttls = true,
        .legacy_auth = offer->config->auth.legacy_ehlo,
    };
    offer->ehlo[OFFER_PLAINTEXT].length =
        smtp_ehlo_format(&offer->learned, &own, offer->ehlo[OFFER_PLAINTEXT].text);
    own.starttls = false;
    own.mechanisms = offer->mechanisms;
    offer->ehlo[OFFER_SECURE].length =
        smtp_ehlo_format(&offer->learned, &own, offer->ehlo[OFFER_SECURE].text);
}

static void name_mechanisms(struct offer *offer)
{
    for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
        if (!(offer->config->auth.mechanisms & (1u << i)))
            continue;
        if (offer->mechanisms[0])
            strcat(offer->mechanisms, " ");
        strcat(offer->mechanisms, sasl_mechanism_name((enum sasl_mechanism)i));
    }
}

struct offer *offer_new(const struct config *config)
{
    struct offer *offer = calloc(1, sizeof *offer);
    if (!offer)
        return NULL;
    offer->config = config;
    name_mechanisms(offer);
    write_replies(offer);
    return offer;
}

void offer_free(struct offer *offer)
{
    if (offer->service) {
        event_del(&offer->timer);
        backend_cancel(offer->probe);
    }
    free(offer);
}

void offer_learn(struct offer *offer, const struct smtp_ehlo *ehlo)
{
    if (offer->known && smtp_ehlo_equal(&offer->learned, ehlo))
        return;
    offer->known = true;
    offer->learned = *ehlo;
    write_replies(offer);
}

const char *offer_ehlo(const struct offer *offer, enum offer_stage stage, size_t *length)
{
    *length = offer->ehlo[stage].length;
    return offer->ehlo[stage].text;
}

static void probe_again_later(struct offer *offer)
{
    struct timeval wait = {offer->wait_s, 0};
    evtimer_add(&offer->timer, &wait);
    offer->wait_s =
        offer->wait_s * 2 > PROBE_LAST_WAIT_S ? PROBE_LAST_WAIT_S : offer->wait_s * 2;
}

static void on_probed(void *context, const struct backend_result *result)
{
    struct offer *offer = context;
    offer->probe = NULL;
    if (!result->ehlo) {
        log_warning("backend %s: %s; EHLO offers little until it answers",
                    offer->config->backends[0].address_text, result->cause);
        probe_again_later(offer);
        return;
    }
    uint32_t missing = offer->config->backends[0].required & ~result->ehlo->xclient;
    if (missing)
        log_warning(
            "backend %s does not offer every XCLIENT attribute that is required: sessions "
            "will be refused",
            offer->config->backends[0].address_text);
    offer_learn(offer, result->ehlo);
}

static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct offer *offer = argument;
    if (offer->known || offer->probe)
        return;
    offer->probe = backend_open(offer->service, NULL, on_probed, offer);
    if (!offer->probe)
        probe_again_later(offer);
}

void offer_begin_probing(struct offer *offer, struct service *service)
{
    offer->service = service;
    offer->wait_s = PROBE_FIRST_WAIT_S;
    evtimer_assign(&offer->timer, service->base, on_timer, offer);
    event_active(&offer->timer, EV_TIMEOUT, 0);
}
