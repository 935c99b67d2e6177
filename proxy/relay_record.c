/*
 * What a transaction came to, for the log: each that the backend has begun, or whose MAIL it
 * has refused, is told of once, when it is over. One in which nothing was asked after MAIL is
 * not told of. Called by the other files of the relay; the texts are the envelope's.
 */
#include "proxy/base/log.h"
#include "proxy/relay_internal.h"
#include "proxy/smtp/command.h"

static bool is_told(const struct relay *relay)
{
    return relay->party.message && (log_wants(LOG_LEVEL_INFO) || log_is_watched());
}

void relay_record_command(struct relay *relay, const char *arguments, size_t length,
                          const char *word)
{
    size_t address_length;
    const char *address = smtp_envelope_address(arguments, length, word, &address_length);
    envelope_ask(&relay->envelope, address, address_length, is_told(relay));
}

void relay_record_refused_here(struct relay *relay, const char *arguments, size_t length,
                               enum reply reply)
{
    size_t address_length;
    const char *address = smtp_envelope_address(arguments, length, "TO:", &address_length);
    if (is_told(relay))
        envelope_refuse_here(&relay->envelope, address, address_length, reply);
}

/* The end of data is no part of a message. */
static uint64_t size_of(const struct relay *relay, enum relay_result result)
{
    static const char end[] = ".\r\n";
    bool whole = result == RELAY_ACCEPTED || result == RELAY_UNANSWERED ||
                 (result == RELAY_REFUSED && relay->message_unanswered);
    bool has_end = whole && !relay->in_chunks && relay->message_bytes >= sizeof end - 1;
    return relay->message_bytes - (has_end ? sizeof end - 1 : 0);
}

static void tell(struct relay *relay, enum relay_result result)
{
    char recipients[ENVELOPE_TEXT_SIZE];
    const struct envelope *envelope = &relay->envelope;
    struct relay_message message = {
        .result = result,
        .sender = envelope_sender(envelope),
        .recipients = envelope_recipients(envelope, recipients) ? recipients : NULL,
        .reply = result == RELAY_ACCEPTED || result == RELAY_REFUSED ? envelope_reply(envelope)
                                                                     : NULL,
        .accepted = envelope->accepted,
        .refused = envelope->refused,
        .size_bytes = size_of(relay, result),
        .repaired = relay->message_bytes > 0 && !relay->in_chunks ? relay->data.repaired : 0,
        .duration_ms = relay->last_activity_ms - relay->mail_ms,
    };
    relay->party.message(relay->party.context, &message);
}

void relay_record_begin(struct relay *relay)
{
    relay->is_recorded = relay->data_refused = false;
    relay->message_bytes = 0;
    envelope_begin(&relay->envelope, relay->service->config->log_recipients);
}

void relay_record(struct relay *relay, enum relay_result result)
{
    if (!relay->is_recorded && is_told(relay))
        tell(relay, result);
    relay->is_recorded = true;
    envelope_forget(&relay->envelope);
}

static bool was_refused(const struct relay *relay)
{
    const struct envelope *envelope = &relay->envelope;
    return relay->silenced || relay->data_refused ||
           (envelope->accepted == 0 && envelope->refused > 0);
}

static bool has_nothing(const struct relay *relay)
{
    const struct envelope *envelope = &relay->envelope;
    return envelope->accepted == 0 && envelope->refused == 0 && !relay->data_refused;
}

void relay_record_left(struct relay *relay)
{
    if (!has_nothing(relay))
        relay_record(relay, was_refused(relay) ? RELAY_REFUSED : RELAY_ABANDONED);
    envelope_forget(&relay->envelope);
}

void relay_end_message(struct relay *relay)
{
    if (!relay->in_transaction)
        return;
    if (relay_awaits_verdict(relay))
        relay_record(relay, RELAY_UNANSWERED);
    else if (relay->end.quit || has_nothing(relay) || was_refused(relay))
        relay_record_left(relay);
    else
        relay_record(relay, RELAY_LOST);
}
