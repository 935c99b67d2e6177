/* Called by relay.c. Owns nothing. */
#include "proxy/rate.h"

void rate_watch(struct rate *rate, uint64_t now_ms, uint64_t bytes, bool made_to_wait)
{
    if (rate->since_ms == 0)
        *rate = (struct rate){.since_ms = now_ms, .before = bytes};
    rate->excused |= made_to_wait;
}

void rate_forget(struct rate *rate)
{
    rate->since_ms = 0;
}

uint64_t rate_due_ms(const struct rate *rate)
{
    return rate->since_ms > 0 ? rate->since_ms + RATE_PERIOD_MS : UINT64_MAX;
}

/* A period that was looked at late is as long as it is. */
bool rate_was_low(struct rate *rate, uint64_t now_ms, uint64_t bytes, unsigned least)
{
    uint64_t lasted_ms = now_ms - rate->since_ms, sent = bytes - rate->before;
    bool low = !rate->excused && sent * 1000 < (uint64_t)least * lasted_ms;
    *rate = (struct rate){.since_ms = now_ms, .before = bytes};
    return low;
}
