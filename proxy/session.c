/*
 * The life of a session: what happens to it comes in as an event of a stream, of its timer, of
 * the auth pool or of the backend; each is given to the file of its phase and ends with
 * session_settle(), the only place that frees.
 */
#include "proxy/session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/slab.h"
#include "proxy/fingerprints.h"
#include "proxy/resolver.h"
#include "proxy/session_internal.h"

static uint64_t next_number(void)
{
    static uint64_t number;
    if (number == 0)
        number = clock_now_ms() << 20;
    return ++number;
}

void session_id(const struct session *session, char out[static SESSION_ID_SIZE])
{
    static const char digits[] = "0123456789abcdefghijkmnpqrstuvwxyz";
    uint64_t number = session->number;
    size_t length = 0;
    char reversed[SESSION_ID_SIZE];
    do
        reversed[length++] = digits[number % 34];
    while ((number /= 34) > 0);
    for (size_t i = 0; i < length; i++)
        out[i] = reversed[length - 1 - i];
    out[length] = '\0';
}

const char *session_state_name(unsigned state)
{
    static const char *const names[SESSION_STATES] = {
        [SESSION_PROXY] = "proxy_header",   [SESSION_FIRST_BYTE] = "first_byte",
        [SESSION_HANDSHAKE] = "handshake",  [SESSION_COMMANDS] = "commands",
        [SESSION_CHALLENGE] = "challenge",  [SESSION_VERDICT] = "verdict",
        [SESSION_DELAYED] = "login_failed", [SESSION_RESOLVING] = "resolving",
        [SESSION_OPENING] = "opening",      [SESSION_RELAY] = "relay",
    };
    return state < SESSION_STATES ? names[state] : NULL;
}

const char *session_certified_name(const struct session *session)
{
    const struct config_listen *listen = door_listen(session->door);
    const struct tls_peer *peer = stream_peer(session->client);
    const char *name = NULL;
    if (!peer || !*listen->external)
        return NULL;
    if (listen->fingerprints)
        name = fingerprints_find(listen->fingerprints, peer->fingerprint);
    else if (strcasecmp(listen->external, "cn") == 0)
        name = peer->common_name;
    else if (strcasecmp(listen->external, "email") == 0)
        name = peer->email;
    else
        name = peer->dns;
    return name && sasl_name_valid(name, strlen(name)) ? name : NULL;
}

struct abuse_client session_abuse_client(const struct session *session)
{
    return (struct abuse_client){&session->client_address, session->is_exempt};
}

const char *session_mechanism(const struct session *session)
{
    if (!session->login)
        return NULL;
    return session->is_permitted ? IDENTITY_PERMITTED
                                 : sasl_mechanism_name((enum sasl_mechanism)session->mechanism);
}

enum door_stage session_stage(const struct session *session)
{
    if (!stream_is_secure(session->client))
        return DOOR_PLAINTEXT;
    return session_certified_name(session) ? DOOR_CERTIFIED : DOOR_SECURE;
}

void session_count_output(struct session *session, size_t length)
{
    session->bytes_out += length;
    statistics_add(&statistics->bytes[1], length);
}

void session_say(struct session *session, const char *text, size_t length)
{
    session_count_output(session, length);
    stream_write(session->client, text, length);
}

void session_reply(struct session *session, enum reply reply)
{
    const struct reply_text *text = reply_text(reply);
    session_say(session, text->text, text->length);
}

static bool is_arriving(const struct session *session)
{
    return session->phase == SESSION_PROXY || session->phase == SESSION_FIRST_BYTE;
}

void session_finish(struct session *session, enum reply reply, const char *cause)
{
    bool may_hear =
        !is_arriving(session) || door_listen(session->door)->tls == CONFIG_TLS_STARTTLS;
    if (session->phase == SESSION_OVER)
        return;
    if (session->phase == SESSION_HANDSHAKE) {
        statistics_add(&statistics->handshake_failures, 1);
        session_note_failure(session, FAILURE_HANDSHAKE, NULL, cause);
    }
    if (session->relay && relay_is_in_reply(session->relay))
        may_hear = false; /* one reply never has two codes */
    session->phase = SESSION_OVER;
    session->cause = session->cause_text ? session->cause_text : cause;
    session_reply(session, may_hear ? reply : REPLY_NONE);
}

void session_exceed(struct session *session, enum statistics_limit limit, enum reply reply,
                    const char *cause)
{
    statistics_add(&statistics->limits[limit], 1);
    session_finish(session, reply, cause);
}

void session_log_client(const struct session *session, struct log_record *record)
{
    char id[SESSION_ID_SIZE], host[ADDRESS_HOST_SIZE];
    session_id(session, id);
    address_host(&session->client_address, host);
    log_text(record, "id", id);
    log_text(record, "listener", door_listen(session->door)->name);
    log_text(record, "client", host);
    log_number(record, "port", address_port(&session->client_address));
}

void session_note_failure(const struct session *session, enum failure_kind kind,
                          const char *user, const char *reason)
{
    char host[ADDRESS_HOST_SIZE];
    address_host(&session->client_address, host);
    failures_note(kind, door_listen(session->door)->name, host, user, reason);
}

/* OpenSSL has words of its own for it. */
static bool lacked_memory(const struct session *session)
{
    return strcmp(session->cause, "out of memory") == 0 ||
           strstr(session->cause, "malloc failure");
}

static bool was_check(const struct session *session)
{
    return session->is_check && !session->relay;
}

static enum log_level level_of_end(const struct session *session, bool lacked)
{
    if (lacked)
        return LOG_LEVEL_WARNING;
    return was_check(session) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

static void log_end_of(const struct session *session, bool lacked)
{
    struct log_record record;
    struct relay_counts counts = {0};
    if (session->relay)
        counts = *relay_counts(session->relay);

    log_begin(&record, level_of_end(session, lacked), "session ended");
    session_log_client(session, &record);
    log_text(&record, "tls", stream_tls_version(session->client));
    log_text(&record, "cipher", stream_tls_cipher(session->client));
    if (stream_peer(session->client))
        log_text(&record, "certificate", stream_peer(session->client)->fingerprint);
    log_text(&record, "mechanism", session_mechanism(session));
    log_text(&record, "user", session->login);
    log_text(&record, "name", session->name);
    log_text(&record, "helo", session->helo_said ? session->helo_said : session->helo);
    if (session->upstream && session->service->config->backend_count > 1)
        log_text(&record, "backend", upstream_config(session->upstream)->name);
    log_number(&record, "messages", counts.messages);
    log_number(&record, "recipients", counts.recipients);
    if (counts.limited > 0)
        log_number(&record, "limited", counts.limited);
    if (counts.refused > 0)
        log_number(&record, "recipients_refused", counts.refused);
    if (counts.backend_refused > 0) {
        log_number(&record, "backend_refused", counts.backend_refused);
        log_text(&record, "backend_reply", relay_refusal(session->relay));
    }
    log_number(&record, "bytes_in", session->bytes_in + counts.bytes_in);
    log_number(&record, "bytes_out", session->bytes_out + counts.bytes_out);
    if (counts.repaired > 0)
        log_number(&record, "repaired", counts.repaired);
    log_number(&record, "duration_ms", clock_now_ms() - session->started_ms);
    log_text(&record, "end", session->cause);
    log_end(&record);
}

/* Gives everything back. After a reply to QUIT the client has nothing more to say. */
static void session_free(struct session *session)
{
    bool at_once = session->relay && relay_end(session->relay)->quit;
    bool lacked = lacked_memory(session);
    if (session->relay)
        relay_end_message(session->relay);
    log_end_of(session, lacked);
    statistics_add(&statistics->limits[STATISTICS_LIMIT_MEMORY], lacked);
    statistics_add(&statistics->health_checks[door_statistics(session->door)],
                   was_check(session));
    statistics_add(&statistics->kernel_sessions, stream_tls_in_kernel(session->client));
    statistics_subtract(&statistics->sessions[session->counted_phase], 1);
    connections_remove(session->service->connections, &session->connection);
    event_del(&session->timer);
    dialogue_free(session->dialogue);
    backend_cancel(session->backend);
    relay_free(session->relay);
    stream_finish(session->client, at_once);
    resolver_request_cancel(session->lookup);
    slab_free_text(session->name);
    slab_free_text(session->helo);
    slab_free_text(session->helo_said);
    slab_free_text(session->login);
    free(session->cause_text);
    free(session->refusal);
    slab_free(session, sizeof *session);
}

static uint64_t deadline_ms(const struct session *session)
{
    switch ((enum session_phase)session->phase) {
    case SESSION_PROXY:
    case SESSION_FIRST_BYTE:
        return arrival_deadline_ms(session);
    case SESSION_RELAY:
        return relay_deadline_ms(session->relay);
    case SESSION_VERDICT: /* the pool's own */
    case SESSION_OPENING: /* the backend's own */
    case SESSION_OVER:
        return UINT64_MAX;
    default:
        return dialogue_deadline_ms(session);
    }
}

/* The timer is only ever brought forward; when it rings too early, it is set to what is due. */
static void set_timer(struct session *session)
{
    uint64_t due_ms = deadline_ms(session);
    if (due_ms >= session->timer_ms)
        return;
    uint64_t now_ms = clock_now_ms();
    uint64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    session->timer_ms = due_ms;
    evtimer_add(&session->timer, &wait);
}

/* What the relay has come to is the session's. */
static void take_relay_end(struct session *session)
{
    const struct relay_end *end = relay_end(session->relay);
    if (end->over)
        session_finish(session, end->reply, end->cause);
}

static void count_phase(struct session *session)
{
    if (session->phase == session->counted_phase)
        return;
    statistics_subtract(&statistics->sessions[session->counted_phase], 1);
    statistics_add(&statistics->sessions[session->phase], 1);
    session->counted_phase = session->phase;
}

void session_settle(struct session *session)
{
    if (session->phase == SESSION_RELAY)
        take_relay_end(session);
    if (session->phase == SESSION_OVER) {
        session_free(session);
        return;
    }
    count_phase(session);
    stream_flush(session->client);
    set_timer(session);
}

static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct session *session = argument;
    session->timer_ms = UINT64_MAX;
    if (deadline_ms(session) <= clock_now_ms()) {
        if (session->phase == SESSION_RELAY)
            relay_expire(session->relay);
        else if (is_arriving(session))
            arrival_expire(session);
        else
            dialogue_expire(session);
    }
    session_settle(session);
}

static void on_client(void *context, struct stream *stream, enum stream_event event)
{
    struct session *session = context;
    (void)stream;
    if (session->phase == SESSION_RELAY)
        relay_client_event(session->relay, event);
    else if (is_arriving(session))
        arrival_event(session, event);
    else
        dialogue_event(session, event);
    session_settle(session);
}

void session_begin(struct service *service, struct door *door, int fd,
                   struct abuse_client client)
{
    struct session *session = slab_alloc(sizeof *session);
    struct stream *stream = stream_new(service->streams, fd, on_client, session);
    if (!session || !stream ||
        !connections_add(service->connections, &session->connection, client.address)) {
        statistics_add(&statistics->limits[STATISTICS_LIMIT_MEMORY], 1);
        log_warning("a connection is closed: out of memory");
        stream_free(stream);
        slab_free(session, sizeof *session);
        return;
    }
    session->service = service;
    session->door = door;
    session->client = stream;
    session->number = next_number();
    session->started_ms = clock_now_ms();
    session->client_address = *client.address;
    session->is_exempt = client.is_exempt;
    session->timer_ms = UINT64_MAX;
    evtimer_assign(&session->timer, service->base, on_timer, session);
    statistics_add(&statistics->connections[door_statistics(door)], 1);
    statistics_add(&statistics->sessions[session->counted_phase], 1);
    session->dialogue = calloc(1, sizeof *session->dialogue);
    if (session->dialogue)
        arrival_begin(session);
    else
        session_finish(session, REPLY_NONE, "out of memory");
    session_settle(session);
}

struct session *session_of(struct connection *connection)
{
    _Static_assert(offsetof(struct session, connection) == 0, "a session begins with it");
    return (struct session *)connection;
}

void session_view(const struct session *session, struct session_view *out)
{
    struct relay_counts counts = {0};
    if (session->relay)
        counts = *relay_counts(session->relay);
    *out = (struct session_view){
        .client = session->client_address,
        .listener = door_listen(session->door)->name,
        .user = session->login,
        .mechanism = session_mechanism(session),
        .helo = session->helo,
        .tls = stream_tls_version(session->client),
        .cipher = stream_tls_cipher(session->client),
        .backend = session->upstream ? upstream_config(session->upstream)->name : NULL,
        .state = session->counted_phase,
        .messages = counts.messages,
        .recipients = counts.recipients,
        .age_ms = clock_now_ms() - session->started_ms,
        .bytes_in = session->bytes_in + counts.bytes_in,
        .bytes_out = session->bytes_out + counts.bytes_out,
    };
    session_id(session, out->id);
}

bool session_awaits_verdict(const struct session *session)
{
    return session->relay && relay_awaits_verdict(session->relay);
}

bool session_is_opening(const struct session *session)
{
    return session->phase == SESSION_OPENING;
}

void session_abort(struct session *session, enum reply reply, const char *cause)
{
    session_finish(session, reply, cause);
    session_settle(session);
}

void session_end(struct session *session, enum reply reply, const char *cause)
{
    if (session->phase == SESSION_RELAY)
        relay_finish_after_verdict(session->relay, reply, cause);
    else
        session_finish(session, reply, cause);
    session_settle(session);
}

void session_stop(struct session *session)
{
    if (session->phase == SESSION_RELAY)
        relay_stop(session->relay);
    else
        session_finish(session, REPLY_SHUTTING_DOWN, "shutdown");
    session_settle(session);
}
