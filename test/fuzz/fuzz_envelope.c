/*
 * The envelope's text: whatever a client asks, and a backend answers, in whatever order, what
 * is told are addresses that were asked in this transaction, and no memory is kept when nothing
 * is under way.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check(const struct envelope *envelope)
{
    char text[ENVELOPE_TEXT_SIZE];
    const char *sender = envelope_sender(envelope), *reply = envelope_reply(envelope);
    require(envelope->confirmed <= envelope->used && envelope->used <= ENVELOPE_TEXT_SIZE);
    require(envelope->named <= envelope->limit || envelope->named == 0);
    require(!sender || strlen(sender) <= ENVELOPE_ADDRESS_LIMIT + 3);
    require(!reply || strlen(reply) < ENVELOPE_REPLY_SIZE);
    if (envelope_recipients(envelope, text))
        require(sender && strlen(text) < ENVELOPE_TEXT_SIZE &&
                envelope->named <= envelope->accepted + envelope->refused);
}

/* A byte says what happens, the next one how long the address is, whose bytes follow. */
static size_t step(struct envelope *envelope, const uint8_t *data, size_t size)
{
    size_t length = size > 1 ? data[1] * 2u : 0;
    const char *address = (const char *)data + (size > 1 ? 2 : 1);
    if (size < 2 || length > size - 2)
        length = size > 1 ? size - 2 : 0;
    switch (data[0] % 8) {
    case 0:
        envelope_begin(envelope, data[0] / 8u);
        return 1;
    case 1:
        envelope_accept(envelope);
        return 1;
    case 2:
        envelope_refuse(envelope);
        return 1;
    case 3:
        envelope_skip(envelope);
        return 1;
    case 4:
        envelope_forget(envelope);
        return 1;
    case 5:
        envelope_refuse_here(envelope, address, length, REPLY_NOT_OURS);
        break;
    case 6:
        envelope_note_reply(envelope, address, length);
        break;
    default:
        envelope_ask(envelope, address, length, data[0] < 240);
        break;
    }
    return (size > 1 ? 2 : 1) + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct envelope envelope = {0};
    for (size_t at = 0; at < size; check(&envelope))
        at += step(&envelope, data + at, size - at);
    for (int i = 0; i < 2000 && (envelope.used > envelope.confirmed || envelope.unkept > 0);
         i++)
        envelope_skip(&envelope);
    envelope_forget(&envelope);
    require(!envelope.memory && envelope.unkept == 0 && !envelope_sender(&envelope));
    return 0;
}
