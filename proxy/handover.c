/*
 * From the verdict to the relay: the backend is opened and told who the client is, and only
 * then does the client hear 235 (promise 3). If that fails the client hears 454 and is
 * disconnected, and the log has the cause in full (threat 28). If the backend itself refuses
 * the session, the client hears 235, and then that refusal to all that it says (threat 39).
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/abuse.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/slab.h"
#include "proxy/resolver.h"
#include "proxy/session_internal.h"

static void on_backend_event(void *context, struct stream *stream, enum stream_event event)
{
    struct session *session = context;
    (void)stream;
    relay_backend_event(session->relay, event);
    session_settle(session);
}

static void log_passed_over(const struct session *session, const char *cause)
{
    struct log_record record;
    log_begin(&record, LOG_LEVEL_NOTICE, "backend passed over");
    session_log_client(session, &record);
    log_text(&record, "user", session->login);
    log_text(&record, "backend", upstream_config(session->upstream)->name);
    log_text(&record, "cause", cause);
    log_end(&record);
    session_note_failure(session, FAILURE_BACKEND, session->login, cause);
}

static void log_refusal(const struct session *session, const char *cause)
{
    const struct config_backend *backend = upstream_config(session->upstream);
    struct log_record record;
    log_begin(&record, LOG_LEVEL_WARNING, "session refused");
    session_log_client(session, &record);
    log_text(&record, "user", session->login);
    log_text(&record, "backend", backend->name);
    log_text(&record, "backend_address", *backend->program ? NULL : backend->address_text);
    log_text(&record, "cause", cause);
    log_end(&record);
    session_note_failure(session, FAILURE_BACKEND, session->login, cause);
}

static bool is_authenticated(const struct session *session)
{
    return session->login && !session->is_permitted;
}

/* Who has not asked to be authenticated is not answered with a code of AUTH's. */
static void say_refusal(struct session *session, enum reply reply)
{
    const struct reply_text *text = reply_text(reply);
    if (is_authenticated(session)) {
        session_say(session, text->text, text->length);
    } else {
        session_say(session, "421", 3);
        session_say(session, text->text + 3, text->length - 3u);
    }
}

/* For good is what all backends say. */
static bool tells_refusal(const struct session *session, const struct backend_result *result)
{
    return result->refusal && !(session->may_fare_better && result->refusal->bytes[0] == '5');
}

/*
 * Threat 39: AUTH has succeeded and is told so, as any other reply to it would be taken for a
 * wrong password; the next command, or the MAIL that was not answered yet, hears what the
 * backend said. False: no memory.
 */
static bool repeat_refusal(struct session *session, const struct smtp_reply_text *refusal)
{
    session->refusal = malloc(sizeof *refusal);
    if (!session->refusal)
        return false;
    *session->refusal = *refusal;
    session->phase = SESSION_COMMANDS;
    session->dialogue->errors = 0;
    session->dialogue->heard_ms = clock_now_ms();
    if (is_authenticated(session))
        session_reply(session, REPLY_AUTHENTICATED);
    dialogue_continue(session);
    return true;
}

static void refuse(struct session *session, const struct backend_result *result)
{
    session->cause_text = strdup(result->cause);
    if (tells_refusal(session, result) && repeat_refusal(session, result->refusal))
        return;
    say_refusal(session, result->reply);
    session_finish(session, REPLY_NONE, "no backend");
}

/* Of a cipher's key, by its name. */
static unsigned cipher_bits(const char *cipher)
{
    static const struct {
        const char *part;
        unsigned bits;
    } ciphers[] = {{"AES_128", 128}, {"AES128", 128},   {"AES_256", 256},
                   {"AES256", 256},  {"CHACHA20", 256}, {"DES-CBC3", 112}};
    for (size_t i = 0; cipher && i < sizeof ciphers / sizeof *ciphers; i++)
        if (strstr(cipher, ciphers[i].part))
            return ciphers[i].bits;
    return 0;
}

static size_t write_trace(void *context, char out[static SMTP_TRACE_SIZE])
{
    const struct session *session = context;
    char id[SESSION_ID_SIZE], host[ADDRESS_HOST_SIZE];
    bool hidden = upstream_config(session->upstream)->hide_login;
    const char *cipher = stream_tls_cipher(session->client);
    session_id(session, id);
    address_host(&session->client_address, host);

    struct smtp_trace trace = {
        .helo = session->helo,
        .ptr = session->name,
        .address = host,
        .hostname = session->service->config->hostname,
        .esmtp = session->esmtp,
        .authenticated = is_authenticated(session),
        .login = hidden || !is_authenticated(session) ? NULL : session->login,
        .tls_version = stream_tls_version(session->client),
        .tls_cipher = cipher,
        .tls_bits = cipher_bits(cipher),
        .id = id,
        .time = time(NULL),
    };
    return smtp_trace_format(&trace, out);
}

static void log_limit(const struct session *session, enum log_level level, const char *limit)
{
    struct log_record record;
    log_begin(&record, level, "limit reached");
    session_log_client(session, &record);
    log_text(&record, "user", session->login);
    log_text(&record, "limit", limit);
    log_end(&record);
    session_note_failure(session, FAILURE_LIMIT, session->login, limit);
}

/* Once for each session: whose account was stolen is worth knowing soon. */
static void tell_of_limit(void *context, const char *limit)
{
    const struct session *session = context;
    if (relay_counts(session->relay)->limited <= 1)
        log_limit(session, LOG_LEVEL_WARNING, limit);
}

static enum reply judge_permission(void *context)
{
    return permission_judge(context);
}

/* 235 goes first; what the client has sent behind AUTH, or an mx's MAIL, is the relay's first
 * input. */
static void begin_relay(struct session *session, const struct backend_result *result)
{
    const struct config_backend *backend = upstream_config(session->upstream);
    struct relay_party party = {
        .listen = door_listen(session->door),
        .backend = backend,
        .login = session->login,
        .authenticated = is_authenticated(session),
        .offered = session->offered,
        .trace = backend->trace || identity_way(backend->identity)->trace ? write_trace : NULL,
        .may_send = session->is_permitted ? judge_permission : NULL,
        .limited = tell_of_limit,
        .message = session->service->config->log_messages ? session_log_message : NULL,
        .context = session,
    };
    static const struct smtp_ehlo nothing;
    session->relay =
        relay_new(session->service, &party, session->client, result->stream,
                  session->esmtp ? result->ehlo : &nothing, &session->dialogue->input);
    if (!session->relay) {
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
        return;
    }
    bool client_ended = session->dialogue->input_ended;
    if (is_authenticated(session))
        session_reply(session, REPLY_AUTHENTICATED);
    dialogue_free(session->dialogue);
    session->dialogue = NULL;
    session->phase = SESSION_RELAY;
    stream_expect_bulk(session->client);
    stream_set_callback(result->stream, on_backend_event, session);
    relay_start(session->relay, client_ended);
}

static struct upstream *next_backend(struct session *session);
static void open_at(struct session *session, struct upstream *upstream);

/* Nothing of the client's has been sent yet, so the next backend may be asked. What may be the
 * client's own doing takes the backend from nobody else before a probe has failed, too. */
static void try_next(struct session *session, const struct backend_result *result)
{
    if (result->of_client)
        upstream_doubt(session->upstream);
    else if (result->reply != REPLY_BACKEND_NO_IDENTITY)
        upstream_failed(session->upstream, result->cause);
    session->may_fare_better |= !result->refusal || result->refusal->bytes[0] != '5';
    struct upstream *next = next_backend(session);
    if (next) {
        log_passed_over(session, result->cause);
        open_at(session, next);
    } else {
        log_refusal(session, result->cause);
        refuse(session, result);
    }
}

static void on_backend(void *context, const struct backend_result *result)
{
    struct session *session = context;
    session->backend = NULL;
    upstream_count(session->upstream, result->stream ? REPLY_NONE : result->reply,
                   clock_now_ms() - session->opening_ms);
    if (result->stream) {
        upstream_answered(session->upstream);
        if (session->esmtp)
            door_learn_session(session->door, session->upstream, &session->client_address,
                               result->ehlo);
        begin_relay(session, result);
    } else {
        try_next(session, result);
    }
    session_settle(session);
}

static void find_local_address(struct session *session)
{
    struct address *local = &session->local_address;
    if (local->length == 0)
        (void)!address_of_own_end(stream_descriptor(session->client), local);
}

/* NULL: there is none that has not been tried. */
static struct upstream *next_backend(struct session *session)
{
    return door_choose(session->door, &session->choice);
}

static void open_at(struct session *session, struct upstream *upstream)
{
    char id[SESSION_ID_SIZE];
    session->upstream = upstream;
    session_id(session, id);
    struct identity identity = {
        .login = session->login,
        .mechanism = session_mechanism(session),
        .helo = session->helo,
        .esmtp = session->esmtp,
        .name = session->name,
        .client = &session->client_address,
        .local = &session->local_address,
        .peer = stream_peer(session->client),
        .server_name = stream_server_name(session->client),
        .alpn = stream_alpn(session->client),
        .tls_version = stream_tls_version(session->client),
        .tls_cipher = stream_tls_cipher(session->client),
    };
    memcpy(identity.id, id, sizeof id);
    session->opening_ms = clock_now_ms();
    session->backend = backend_open(session->service, upstream_config(upstream), &identity,
                                    on_backend, session);
    if (!session->backend)
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
}

static void open_backend(struct session *session)
{
    session->phase = SESSION_OPENING;
    open_at(session, next_backend(session));
}

static void on_name(void *context, const char *name)
{
    struct session *session = context;
    session->lookup = NULL;
    if (name)
        session->name = slab_text(name, strlen(name));
    if (session->phase == SESSION_RESOLVING)
        open_backend(session);
    session_settle(session);
}

/* Only now: who never logs in, or says MAIL, costs nobody a place in the queue for names. */
static void look_up(struct session *session)
{
    session->dialogue->resolving_ms = clock_now_ms();
    if (door_wants_names(session->door))
        session->lookup = resolver_find_name(session->service->resolver,
                                             &session->client_address, on_name, session);
}

void handover_without_name(struct session *session)
{
    resolver_request_cancel(session->lookup);
    session->lookup = NULL;
    open_backend(session);
}

/* A stranger needs nothing but a connection to hold a session of the backend: one address gets
 * its share of them (threat 42). */
static bool has_its_share(const struct session *session)
{
    const struct service *service = session->service;
    unsigned limit = service->config->limits.mx_sessions_per_address;
    return !session->login && limit > 0 && !session->is_exempt &&
           connections_strangers_from(service->connections, &session->client_address) >= limit;
}

static void refuse_share(struct session *session)
{
    log_limit(session, LOG_LEVEL_INFO, statistics_limit_name(STATISTICS_LIMIT_MX_SESSIONS));
    session_exceed(session, STATISTICS_LIMIT_MX_SESSIONS, REPLY_ADDRESS_MAIL,
                   "too many sessions with mail from this address");
}

/* From here on a user's session no longer gives way to a newer one, and a stranger's hardly. */
void handover_begin(struct session *session)
{
    if (has_its_share(session)) {
        refuse_share(session);
        return;
    }
    find_local_address(session);
    if (session->login)
        abuse_expect_mail(session->service->abuse, session->login);
    connections_promote(session->service->connections, &session->connection,
                        session->login ? CONNECTION_AUTHENTICATED : CONNECTION_STRANGER);
    look_up(session);
    if (session->lookup)
        session->phase = SESSION_RESOLVING;
    else
        open_backend(session);
}
