/*
 * Probing backends and remembering what they said. Used by doors, which choose among them, and
 * by handover.c, which tells of the sessions that it opened or could not. A change from one
 * state to the other is one line in the log, not one for each attempt.
 */
#include "proxy/upstream.h"

#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/backend.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/identity.h"
#include "proxy/statistics.h"

#define PROBE_FIRST_WAIT_MS 1000
#define PROBE_LAST_WAIT_MS  30000
/* Between probes for which clients give cause: does it answer, and what does it offer now? */
#define PROBE_DOUBT_MS 1000
#define PROBE_OFFER_MS 5000

struct upstream {
    struct service *service;
    const struct config_backend *config;
    upstream_changed *changed;
    void *context;
    unsigned statistics;
    struct smtp_ehlo learned;
    bool known;
    bool down;
    bool checked;          /* is asked although it answers */
    bool doubted;          /* is asked once more */
    struct backend *probe; /* NULL: none is under way */
    uint64_t probed_ms;    /* when the last one began */
    struct event timer;
    uint32_t wait_ms; /* before the next probe, while it does not answer */
};

/* The only one needs no name. */
static const char *label(const struct upstream *upstream)
{
    return upstream->service->config->backend_count > 1 ? upstream->config->name
                                                        : upstream->config->address_text;
}

static void set_timer(struct upstream *upstream, uint32_t wait_ms)
{
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    evtimer_add(&upstream->timer, &wait);
}

static void ask_again(struct upstream *upstream)
{
    uint32_t longest_ms = upstream->config->check_ms;
    if (longest_ms == 0 || longest_ms > PROBE_LAST_WAIT_MS)
        longest_ms = PROBE_LAST_WAIT_MS;
    if (upstream->wait_ms > longest_ms)
        upstream->wait_ms = longest_ms;
    set_timer(upstream, upstream->wait_ms);
    upstream->wait_ms *= 2;
}

static void learn(struct upstream *upstream, const struct smtp_ehlo *ehlo)
{
    if (upstream->known && smtp_ehlo_equal(&upstream->learned, ehlo))
        return;
    upstream->known = true;
    upstream->learned = *ehlo;
    upstream->changed(upstream->context);
}

void upstream_answered(struct upstream *upstream)
{
    if (upstream->down)
        log_notice("backend %s: answers again", label(upstream));
    upstream->down = false;
    upstream->wait_ms = PROBE_FIRST_WAIT_MS;
}

void upstream_failed(struct upstream *upstream, const char *cause)
{
    if (!upstream->down)
        log_warning("backend %s: %s%s", label(upstream), cause,
                    upstream->known ? "" : "; EHLO offers little until it answers");
    /* The timer may still be set to the next regular check, which is too late now. */
    bool asks_soon = upstream->down && evtimer_pending(&upstream->timer, NULL);
    upstream->down = true;
    if (!upstream->probe && !asks_soon)
        ask_again(upstream);
}

/* Once more, so long after the last one began. */
static void probe_soon(struct upstream *upstream, uint32_t wait_ms)
{
    uint64_t due_ms = upstream->probed_ms + wait_ms, now_ms = clock_now_ms();
    if (upstream->down || upstream->doubted || upstream->probe)
        return;
    upstream->doubted = true;
    set_timer(upstream, due_ms > now_ms ? (uint32_t)(due_ms - now_ms) : 0);
}

void upstream_doubt(struct upstream *upstream)
{
    probe_soon(upstream, PROBE_DOUBT_MS);
}

void upstream_ask(struct upstream *upstream)
{
    probe_soon(upstream, PROBE_OFFER_MS);
}

/* Would a backend with this offer take the identity of the clients that it gets? */
static bool takes_identity(const struct upstream *upstream, const struct smtp_ehlo *ehlo)
{
    const struct config *config = upstream->service->config;
    bool logins = config_submission_of(config, (size_t)(upstream->config - config->backends));
    return identity_is_taken(upstream->config, ehlo, logins);
}

/* Logs each change before it is learned, as the postmaster has to change something. */
static void look_at_identity(const struct upstream *upstream, const struct smtp_ehlo *ehlo)
{
    bool took = upstream_takes_identity(upstream), takes = takes_identity(upstream, ehlo);
    if (took && !takes)
        log_warning("backend %s does not offer every XCLIENT attribute that is required: "
                    "sessions will be refused",
                    label(upstream));
    else if (!took && takes)
        log_notice("backend %s offers every XCLIENT attribute that is required",
                   label(upstream));
}

static void on_probed(void *context, const struct backend_result *result)
{
    struct upstream *upstream = context;
    upstream->probe = NULL;
    upstream->doubted = false;
    if (result->ehlo) {
        look_at_identity(upstream, result->ehlo);
        upstream_answered(upstream);
        learn(upstream, result->ehlo);
        if (upstream->checked && upstream->config->check_ms > 0)
            set_timer(upstream, upstream->config->check_ms);
        else if (!upstream_takes_identity(upstream))
            set_timer(upstream, PROBE_OFFER_MS);
        return;
    }
    upstream_failed(upstream, result->cause);
}

static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct upstream *upstream = argument;
    bool settled = upstream->known && !upstream->down && upstream_takes_identity(upstream) &&
                   !upstream->checked && !upstream->doubted;
    if (settled || upstream->probe)
        return;
    upstream->probed_ms = clock_now_ms();
    upstream->probe = backend_probe(upstream->service, upstream->config, on_probed, upstream);
    if (!upstream->probe)
        ask_again(upstream);
}

struct upstream *upstream_new(struct service *service, const struct config_backend *config,
                              upstream_changed *changed, void *context)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (!upstream)
        return NULL;
    upstream->service = service;
    upstream->config = config;
    upstream->changed = changed;
    upstream->context = context;
    upstream->wait_ms = PROBE_FIRST_WAIT_MS;
    upstream->statistics = statistics_backend(config->name);
    evtimer_assign(&upstream->timer, service->base, on_timer, upstream);
    return upstream;
}

void upstream_free(struct upstream *upstream)
{
    if (!upstream)
        return;
    event_del(&upstream->timer);
    backend_cancel(upstream->probe);
    free(upstream);
}

void upstream_begin_probing(struct upstream *upstream, bool checked)
{
    upstream->checked = checked;
    event_active(&upstream->timer, EV_TIMEOUT, 0);
}

const struct config_backend *upstream_config(const struct upstream *upstream)
{
    return upstream->config;
}

bool upstream_is_up(const struct upstream *upstream)
{
    return !upstream->down;
}

bool upstream_takes_identity(const struct upstream *upstream)
{
    return !upstream->known || takes_identity(upstream, &upstream->learned);
}

const struct smtp_ehlo *upstream_offer(const struct upstream *upstream)
{
    return upstream->known ? &upstream->learned : NULL;
}

void upstream_count(const struct upstream *upstream, enum reply reply, uint64_t elapsed_ms)
{
    static const enum statistics_open results[REPLY_COUNT] = {
        [REPLY_NONE] = STATISTICS_OPEN_DONE + 1,
        [REPLY_BACKEND_UNREACHABLE] = STATISTICS_OPEN_UNREACHABLE + 1,
        [REPLY_BACKEND_SILENT] = STATISTICS_OPEN_SILENT + 1,
        [REPLY_BACKEND_UNWILLING] = STATISTICS_OPEN_UNWILLING + 1,
        [REPLY_BACKEND_NO_IDENTITY] = STATISTICS_OPEN_NO_IDENTITY + 1,
    };
    unsigned result = results[reply] > 0 ? results[reply] - 1u : STATISTICS_OPEN_OTHER;
    statistics_add(&statistics->opens[upstream->statistics][result], 1);
    statistics_observe(&statistics->open_duration[upstream->statistics], elapsed_ms);
}
