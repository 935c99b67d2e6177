/*
 * How fast a client sends its message: bytes are counted over periods of a minute, one after
 * the other. A period in which the client was made to wait says nothing, and is not judged.
 * Pure.
 */
#ifndef POSTERN_RATE_H
#define POSTERN_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_PERIOD_MS 60000u

/* Zeroed: no message is under way. */
struct rate {
    uint64_t since_ms; /* when the period began; 0: there is none */
    uint64_t before;   /* bytes that the client had sent by then */
    bool excused;      /* it was made to wait */
};

/* At the end of each turn in which a message is under way; `bytes` are all that the client has
 * sent so far. */
void rate_watch(struct rate *rate, uint64_t now_ms, uint64_t bytes, bool made_to_wait);

/* Called when the message has ended. */
void rate_forget(struct rate *rate);

/* When the period ends; UINT64_MAX: there is none. */
uint64_t rate_due_ms(const struct rate *rate);

/* Ends the period. Returns whether it averaged less than `least` bytes a second; the next one
 * begins. */
bool rate_was_low(struct rate *rate, uint64_t now_ms, uint64_t bytes, unsigned least);

#endif
