/*
 * When a period of session tickets begins, takes its secret and sets the keys of all listeners.
 * Called by reactor.c at its start and its end. Keeps no secret itself.
 */
#include "proxy/reactor_tickets.h"

#include <event2/event.h>
#include <string.h>
#include <time.h>

#include "proxy/base/log.h"
#include "tls/context.h"

/* Takes the file's secret, or the one that was drawn for this period. */
static void take_secret(const struct reactor_settings *settings, uint64_t period,
                        uint8_t out[static TLS_TICKET_SECRET_SIZE])
{
    if (*settings->config->tls.ticket_secret)
        memcpy(out, settings->contexts->ticket_secret, TLS_TICKET_SECRET_SIZE);
    else if (!ticket_periods_take(settings->ticket_periods, period, out))
        log_warning("tls: other reactors cannot resume this one's sessions until the next "
                    "twelve hours begin");
}

static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct reactor_tickets *tickets = argument;
    const struct reactor_settings *settings = tickets->settings;
    time_t now = time(NULL);
    uint64_t period = (uint64_t)(now / TLS_TICKET_PERIOD_S);
    uint8_t secret[TLS_TICKET_SECRET_SIZE];

    take_secret(settings, period, secret);
    for (size_t i = 0; i < settings->config->listen_count; i++)
        if (!tls_context_set_ticket_period(settings->contexts->listens[i], secret, period))
            log_error("tls: ticket keys cannot be set");
    explicit_bzero(secret, sizeof secret);
    struct timeval wait = {TLS_TICKET_PERIOD_S - now % TLS_TICKET_PERIOD_S, 0};
    evtimer_add(&tickets->timer, &wait);
}

void reactor_tickets_start(struct reactor_tickets *tickets, struct event_base *base,
                           const struct reactor_settings *settings)
{
    tickets->settings = settings;
    evtimer_assign(&tickets->timer, base, on_timer, tickets);
    on_timer(-1, 0, tickets);
}

void reactor_tickets_stop(struct reactor_tickets *tickets)
{
    event_del(&tickets->timer);
}
