/*
 * From the verdict to the relay: the backend is opened and told who the client is, and only
 * then does the client hear 235 (promise 3). If that fails the client hears 454 and is
 * disconnected, and the log has the cause in full (threat 28).
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"
#include "proxy/session_internal.h"

static void on_backend_event(void *context, struct stream *stream, enum stream_event event)
{
    struct session *session = context;
    (void)stream;
    relay_backend_event(session->relay, event);
    session_settle(session);
}

static void log_refusal(const struct session *session, const char *cause)
{
    struct log_record record;
    log_begin(&record, LOG_LEVEL_WARNING, "session refused");
    session_log_client(session, &record);
    log_text(&record, "user", session->login);
    log_text(&record, "backend", session->service->config->backends[0].address_text);
    log_text(&record, "cause", cause);
    log_end(&record);
}

static void refuse(struct session *session, const struct backend_result *result)
{
    log_refusal(session, result->cause);
    session->cause_text = strdup(result->cause);
    session_finish(session, result->reply,
                   session->cause_text ? session->cause_text : "no backend");
}

/* 235 goes first; what the client has sent behind AUTH is the relay's first input. */
static void begin_relay(struct session *session, const struct backend_result *result)
{
    session->stream_to_backend = result->stream;
    session->relay = relay_new(session->service, session->client, result->stream, result->ehlo,
                               &session->dialogue->input);
    if (!session->relay) {
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
        return;
    }
    bool client_ended = session->dialogue->input_ended;
    session_reply(session, REPLY_AUTHENTICATED);
    dialogue_free(session->dialogue);
    session->dialogue = NULL;
    session->phase = SESSION_RELAY;
    stream_expect_bulk(session->client);
    stream_set_callback(result->stream, on_backend_event, session);
    relay_start(session->relay, client_ended);
}

static void on_backend(void *context, const struct backend_result *result)
{
    struct session *session = context;
    session->backend = NULL;
    if (result->stream)
        begin_relay(session, result);
    else
        refuse(session, result);
    session_settle(session);
}

static void find_local_address(struct session *session)
{
    struct address *local = &session->local_address;
    socklen_t length = sizeof *local - offsetof(struct address, any);
    if (getsockname(stream_descriptor(session->client), &local->any, &length) < 0)
        return;
    local->length = length;
    address_normalise(local);
}

void handover_begin(struct session *session)
{
    find_local_address(session);
    struct backend_identity identity = {
        .login = session->login,
        .helo = session->helo,
        .client = &session->client_address,
        .local = &session->local_address,
    };
    session->phase = SESSION_OPENING;
    session->backend = backend_open(session->service, &identity, on_backend, session);
    if (!session->backend)
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
}
