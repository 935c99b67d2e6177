/*
 * The text is a row of addresses, each after a byte that says who answers it: the sender, the
 * recipients to be named, and then what has not been answered. So an answer only moves the
 * border between the last two, or closes a gap. Called by the relay's files; owns one block of
 * the slab.
 */
#include "proxy/envelope.h"

#include <string.h>

#include "proxy/base/slab.h"

_Static_assert(sizeof(struct envelope_memory) <= SLAB_LIMIT, "it is not malloc()'s");

/* The byte before an address that the backend answers; before others stands our enum reply. */
#define ASKED_BACKEND ((char)REPLY_NONE)

static const char more[] = "...";

void envelope_free(struct envelope *envelope)
{
    slab_free(envelope->memory, sizeof *envelope->memory);
    *envelope = (struct envelope){0};
}

static char *front(const struct envelope *envelope)
{
    return envelope->confirmed < envelope->used ? envelope->memory->text + envelope->confirmed
                                                : NULL;
}

/* With the byte before it and its NUL. */
static uint16_t entry_size(const char *entry)
{
    return (uint16_t)(1 + strlen(entry + 1) + 1);
}

static void remove_bytes(struct envelope *envelope, uint16_t from, uint16_t size)
{
    char *text = envelope->memory->text;
    memmove(text + from, text + from + size, (size_t)(envelope->used - from - size));
    envelope->used = (uint16_t)(envelope->used - size);
}

/* Appends one; false: it has no room, or is not to be kept. */
static bool append(struct envelope *envelope, char kind, const char *address, size_t length)
{
    size_t kept = length <= ENVELOPE_ADDRESS_LIMIT ? length : ENVELOPE_ADDRESS_LIMIT;
    size_t size = 1 + kept + (kept < length ? sizeof more : 1);
    if (!envelope->memory)
        envelope->memory = slab_alloc(sizeof *envelope->memory);
    if (!envelope->memory || size > (size_t)(ENVELOPE_TEXT_SIZE - envelope->used))
        return false;
    char *out = envelope->memory->text + envelope->used;
    *out++ = kind;
    memcpy(out, address, kept);
    strcpy(out + kept, kept < length ? more : "");
    envelope->used = (uint16_t)(envelope->used + size);
    return true;
}

static void release_if_empty(struct envelope *envelope)
{
    if (envelope->used > 0)
        return;
    slab_free(envelope->memory, sizeof *envelope->memory);
    envelope->memory = NULL;
}

/* A text that was kept must come before all that were not, or replies would be taken for those
 * to other commands. */
void envelope_ask(struct envelope *envelope, const char *address, size_t length, bool keep)
{
    if (!keep || envelope->unkept > 0 || memchr(address, '\0', length) ||
        !append(envelope, ASKED_BACKEND, address, length))
        envelope->unkept++;
}

/* The first that is not answered is named, or goes. */
static void settle_front(struct envelope *envelope, bool name)
{
    char *entry = front(envelope);
    if (!entry) {
        envelope->unkept -= envelope->unkept > 0;
        return;
    }
    uint16_t size = entry_size(entry);
    if (name)
        envelope->confirmed = (uint16_t)(envelope->confirmed + size);
    else
        remove_bytes(envelope, envelope->confirmed, size);
}

/* The recipient that is answered, if its text is there and there is need of it. */
static void settle_recipient(struct envelope *envelope, bool name)
{
    name = name && envelope->has_sender && envelope->named < envelope->limit;
    envelope->named = (uint16_t)(envelope->named + (name && front(envelope)));
    settle_front(envelope, name);
}

static void count_refused(struct envelope *envelope)
{
    envelope->refused++;
    settle_recipient(envelope, envelope->accepted == 0);
}

/* Those that Postern has refused after what is answered by now. */
static void settle_local(struct envelope *envelope)
{
    for (const char *entry = front(envelope); entry && *entry != ASKED_BACKEND;
         entry = front(envelope)) {
        const struct reply_text *text = reply_text((enum reply)(unsigned char)*entry);
        if (envelope->accepted == 0)
            envelope_note_reply(envelope, text->text, text->length - 2u);
        count_refused(envelope);
    }
}

void envelope_refuse_here(struct envelope *envelope, const char *address, size_t length,
                          enum reply reply)
{
    if (envelope->unkept > 0 || memchr(address, '\0', length) ||
        !append(envelope, (char)reply, address, length))
        envelope->refused++;
    else
        settle_local(envelope);
    release_if_empty(envelope);
}

static void forget_confirmed(struct envelope *envelope)
{
    if (envelope->confirmed > 0)
        remove_bytes(envelope, 0, envelope->confirmed);
    if (envelope->memory)
        envelope->memory->reply[0] = '\0';
    envelope->confirmed = envelope->named = 0;
    envelope->accepted = envelope->refused = 0;
    envelope->has_sender = false;
}

void envelope_begin(struct envelope *envelope, unsigned limit)
{
    forget_confirmed(envelope);
    envelope->limit = (uint16_t)limit;
    envelope->has_sender = front(envelope);
    settle_front(envelope, true);
    settle_local(envelope);
}

/* The refused ones that were to be named give way to the first that is accepted. */
static void forget_named(struct envelope *envelope)
{
    if (envelope->named == 0)
        return;
    uint16_t sender = entry_size(envelope->memory->text);
    remove_bytes(envelope, sender, (uint16_t)(envelope->confirmed - sender));
    envelope->confirmed = sender;
    envelope->named = 0;
}

void envelope_accept(struct envelope *envelope)
{
    if (envelope->accepted++ == 0)
        forget_named(envelope);
    settle_recipient(envelope, true);
    settle_local(envelope);
}

void envelope_refuse(struct envelope *envelope)
{
    count_refused(envelope);
    settle_local(envelope);
}

void envelope_skip(struct envelope *envelope)
{
    settle_front(envelope, false);
    settle_local(envelope);
    release_if_empty(envelope);
}

void envelope_forget(struct envelope *envelope)
{
    forget_confirmed(envelope);
    release_if_empty(envelope);
}

void envelope_note_reply(struct envelope *envelope, const char *bytes, size_t length)
{
    if (!envelope->memory)
        return;
    if (length >= ENVELOPE_REPLY_SIZE)
        length = ENVELOPE_REPLY_SIZE - 1;
    memcpy(envelope->memory->reply, bytes, length);
    envelope->memory->reply[length] = '\0';
}

const char *envelope_reply(const struct envelope *envelope)
{
    return envelope->memory && envelope->memory->reply[0] ? envelope->memory->reply : NULL;
}

const char *envelope_sender(const struct envelope *envelope)
{
    return envelope->has_sender ? envelope->memory->text + 1 : NULL;
}

bool envelope_recipients(const struct envelope *envelope, char out[static ENVELOPE_TEXT_SIZE])
{
    size_t written = 0;
    if (envelope->named == 0)
        return false;
    const char *text = envelope->memory->text;
    for (uint16_t at = entry_size(text); at < envelope->confirmed;
         at += entry_size(text + at)) {
        size_t length = strlen(text + at + 1);
        if (written > 0)
            out[written++] = ',';
        memcpy(out + written, text + at + 1, length);
        written += length;
    }
    out[written] = '\0';
    return true;
}
