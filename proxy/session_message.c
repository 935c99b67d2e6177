/*
 * A line of the log for each transaction of a session. Called by the relay when one is over.
 * The line may wait for the next, as the session's own often follows at once.
 */
#include "proxy/base/log.h"
#include "proxy/session_internal.h"

static const char *const results[] = {
    [RELAY_ACCEPTED] = "accepted",     [RELAY_REFUSED] = "refused",
    [RELAY_ABANDONED] = "abandoned",   [RELAY_LOST] = "lost",
    [RELAY_UNANSWERED] = "unanswered",
};

void session_log_message(void *context, const struct relay_message *message)
{
    const struct session *session = context;
    struct log_record record;
    log_begin(&record, LOG_LEVEL_INFO, "message");
    session_log_client(session, &record);
    log_text(&record, "user", session->login);
    log_text(&record, "from", message->sender);
    log_text(&record, "to", message->recipients);
    log_number(&record, "recipients", message->accepted);
    if (message->refused > 0)
        log_number(&record, "recipients_refused", message->refused);
    log_number(&record, "size", message->size_bytes);
    if (message->repaired > 0)
        log_number(&record, "repaired", message->repaired);
    log_number(&record, "duration_ms", message->duration_ms);
    log_text(&record, "backend", upstream_config(session->upstream)->name);
    log_text(&record, "result", results[message->result]);
    log_text(&record, "reply", message->reply);
    log_end_soon(&record);
}
