/*
 * When a relay ends because too little happens: a side that is silent, or a message that comes
 * too slowly while others need the place. Called by relay.h's functions. Owns nothing.
 */
#include "proxy/base/clock.h"
#include "proxy/connections.h"
#include "proxy/relay_internal.h"
#include "proxy/statistics.h"

/* Is it the backend that everybody waits for? */
static bool awaits_backend(const struct relay *relay)
{
    if (relay->client_congested || !relay->backend)
        return false;
    bool client_speaks = relay->mode == RELAY_MESSAGE || relay->mode == RELAY_CHUNK;
    return client_speaks ? stream_queued(relay->backend) > 0 : relay->queue_count > 0;
}

/* A stranger proves nothing with MAIL: outside of a message it has less time than a user. */
static bool is_hurried(const struct relay *relay)
{
    return relay->party.listen->role == CONFIG_ROLE_MX && relay->mode != RELAY_MESSAGE &&
           relay->mode != RELAY_CHUNK;
}

/* When the session ends if neither side moves. */
static uint64_t idle_deadline_ms(const struct relay *relay)
{
    const struct config_timeouts *timeouts = &relay->service->config->timeouts;
    uint32_t idle_ms = is_hurried(relay) ? timeouts->mx_idle_ms : timeouts->idle_ms;
    return relay->last_activity_ms +
           (awaits_backend(relay) ? timeouts->backend_reply_ms : idle_ms);
}

uint64_t relay_deadline_ms(const struct relay *relay)
{
    uint64_t idle_ms = idle_deadline_ms(relay), rate_ms = rate_due_ms(&relay->rate);
    return rate_ms < idle_ms ? rate_ms : idle_ms;
}

static bool is_crowded(const struct service *service)
{
    return connections_count(service->connections) > service->config->limits.connections / 2;
}

/* Slowness does no harm where there is room for others. */
static void judge_rate(struct relay *relay, uint64_t now_ms)
{
    unsigned least = relay->service->config->limits.minimum_rate;
    if (!rate_was_low(&relay->rate, now_ms, relay->counts.bytes_in, least) ||
        !is_crowded(relay->service))
        return;
    statistics_add(&statistics->limits[STATISTICS_LIMIT_RATE], 1);
    relay_finish(relay, relay->backend ? REPLY_TOO_SLOW : REPLY_NONE,
                 "message came too slowly");
}

static void end_idle(struct relay *relay)
{
    enum statistics_limit limit = awaits_backend(relay) ? STATISTICS_LIMIT_TIME_BACKEND
                                  : is_hurried(relay)   ? STATISTICS_LIMIT_TIME_MX_IDLE
                                                        : STATISTICS_LIMIT_TIME_IDLE;
    statistics_add(&statistics->limits[limit], 1);
    if (!relay->backend)
        relay_finish(relay, REPLY_NONE, relay->closing_cause);
    else if (relay->client_congested)
        relay_finish(relay, REPLY_TIMEOUT_IDLE, "client does not read its replies");
    else if (awaits_backend(relay))
        relay_lose_backend(relay, REPLY_BACKEND_TIMEOUT, "backend did not answer in time");
    else if (is_hurried(relay))
        relay_finish(relay, REPLY_TIMEOUT_GREETING, "no command in time");
    else
        relay_finish(relay, REPLY_TIMEOUT_IDLE,
                     relay_cause_in_message(relay, "idle for too long",
                                            "idle for too long after a dot that does not end a "
                                            "message: it was not between CRLF and CRLF"));
}

void relay_expire(struct relay *relay)
{
    uint64_t now_ms = clock_now_ms();
    if (rate_due_ms(&relay->rate) <= now_ms)
        judge_rate(relay, now_ms);
    if (!relay->end.over && idle_deadline_ms(relay) <= now_ms)
        end_idle(relay);
}
