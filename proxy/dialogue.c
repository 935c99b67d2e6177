/*
 * SMTP before authentication (RFC 5321, 3207, 4954): commands in, replies out, nothing to the
 * backend (promise 1); dialogue_input.c reads the lines. A command is a row of a table: verb,
 * handler, and what must have come before. Nothing that was said in plaintext outlives STARTTLS
 * (promise 2).
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/slab.h"
#include "proxy/session_internal.h"

typedef void command_handler(struct session *session, const struct smtp_command *command);

static bool is_secure(const struct session *session)
{
    return stream_is_secure(session->client);
}

static void count_error(struct session *session)
{
    if (++session->dialogue->errors >= session->service->config->limits.errors)
        session_exceed(session, STATISTICS_LIMIT_ERRORS, REPLY_TOO_MANY_ERRORS,
                       "too many errors");
}

void dialogue_refuse(struct session *session, enum reply reply)
{
    statistics_add(&statistics->rejected[reply], 1);
    session_reply(session, reply);
    count_error(session);
}

static void forget_name(struct session *session)
{
    slab_free_text(session->helo);
    slab_free_text(session->helo_said);
    session->helo = session->helo_said = NULL;
    session->esmtp = false;
    session->offered = 0;
}

/* False: refused. */
static bool hear_name(struct session *session, const struct smtp_command *command)
{
    const char *name = command->arguments;
    size_t length = command->arguments_length;
    char safe[SMTP_HELO_NAME_SIZE];
    bool is_strict = session->service->config->helo == CONFIG_HELO_STRICT;
    if (!smtp_helo_name_take(name, length, is_strict, safe)) {
        dialogue_refuse(session, REPLY_HELO_NAME);
        return false;
    }
    forget_name(session);
    session->helo = slab_text(safe, length);
    if (memcmp(safe, name, length) != 0)
        session->helo_said = slab_text(name, length);
    session->esmtp = command->verb == SMTP_VERB_EHLO;
    return true;
}

static void do_ehlo(struct session *session, const struct smtp_command *command)
{
    size_t length;
    if (!hear_name(session, command))
        return;
    const char *text = door_ehlo(session->door, session_stage(session),
                                 &session->client_address, &length, &session->offered);
    session_say(session, text, length);
}

static void do_helo(struct session *session, const struct smtp_command *command)
{
    const char *hostname = session->service->config->hostname;
    if (!hear_name(session, command))
        return;
    session_say(session, "250 ", 4);
    session_say(session, hostname, strlen(hostname));
    session_say(session, "\r\n", 2);
}

static void do_noop(struct session *session, const struct smtp_command *command)
{
    (void)command;
    session_reply(session, REPLY_OK);
}

static void do_help(struct session *session, const struct smtp_command *command)
{
    (void)command;
    session_reply(session, REPLY_HELP);
}

static void do_quit(struct session *session, const struct smtp_command *command)
{
    (void)command;
    arrival_note_check(session);
    session_finish(session, REPLY_BYE, "quit");
}

static void do_vrfy(struct session *session, const struct smtp_command *command)
{
    (void)command;
    dialogue_refuse(session, REPLY_NOT_BEFORE_AUTH);
}

/* Threat 1: what the client, or somebody on its way, has sent behind STARTTLS is thrown away.
 */
static void forget_plaintext(struct session *session)
{
    struct dialogue *dialogue = session->dialogue;
    if (dialogue->input.length > dialogue->line_bytes) {
        struct log_record record;
        log_begin(&record, LOG_LEVEL_NOTICE, "plaintext behind STARTTLS thrown away");
        session_log_client(session, &record);
        log_number(&record, "bytes", dialogue->input.length - dialogue->line_bytes);
        log_end(&record);
    }
    buffer_wipe(&dialogue->input);
    forget_name(session);
}

static void do_starttls(struct session *session, const struct smtp_command *command)
{
    if (is_secure(session)) {
        dialogue_refuse(session, REPLY_TLS_ACTIVE);
        return;
    }
    if (command->arguments_length > 0) {
        dialogue_refuse(session, REPLY_NO_ARGUMENT);
        return;
    }
    session_reply(session, REPLY_TLS_READY);
    forget_plaintext(session);
    stream_resume(session->client);
    session->phase = SESSION_HANDSHAKE;
    session->dialogue->handshake_ms = clock_now_ms();
    if (!stream_secure(session->client, door_tls(session->door)))
        session_finish(session, REPLY_NONE, "out of memory");
}

static bool is_mx(const struct session *session)
{
    return door_listen(session->door)->role == CONFIG_ROLE_MX;
}

/* MAIL and all that follows it belong to those who have logged in. */
static void do_transaction(struct session *session, const struct smtp_command *command)
{
    (void)command;
    if (!session->helo)
        dialogue_refuse(session, REPLY_EHLO_FIRST);
    else
        dialogue_refuse(session, is_mx(session) ? REPLY_MAIL_FIRST : REPLY_AUTH_FIRST);
}

/* Who needs no AUTH is not waited for: the line itself is the first that the backend gets. */
static void do_mail(struct session *session, const struct smtp_command *command)
{
    if (session->helo && (is_mx(session) || permission_take(session)))
        handover_begin(session);
    else
        do_transaction(session, command);
}

static void do_chunk(struct session *session, const struct smtp_command *command)
{
    (void)command;
    session_finish(session, REPLY_AUTH_FIRST, "BDAT before authentication");
}

/* Devices say HELO and then AUTH, and some clients no EHLO after STARTTLS: the session is one
 * without extensions then. */
static void do_auth(struct session *session, const struct smtp_command *command)
{
    if (is_mx(session))
        dialogue_refuse(session, REPLY_NO_AUTH);
    else
        login_begin(session, command);
}

static void do_identity(struct session *session, const struct smtp_command *command)
{
    (void)command;
    dialogue_refuse(session, REPLY_ONLY_PROXIES);
}

static void do_foreign(struct session *session, const struct smtp_command *command)
{
    (void)command;
    session_finish(session, REPLY_FOREIGN_PROTOCOL, "another protocol's command");
}

static void do_unknown(struct session *session, const struct smtp_command *command)
{
    (void)command;
    dialogue_refuse(session, REPLY_UNKNOWN_COMMAND);
}

static const struct {
    command_handler *handler;
    bool in_plaintext; /* RFC 3207 section 4: the others get 530 before STARTTLS */
} commands[SMTP_VERB_COUNT] = {
    [SMTP_VERB_UNKNOWN] = {do_unknown, true},   [SMTP_VERB_EHLO] = {do_ehlo, true},
    [SMTP_VERB_HELO] = {do_helo, true},         [SMTP_VERB_MAIL] = {do_mail, false},
    [SMTP_VERB_RCPT] = {do_transaction, false}, [SMTP_VERB_DATA] = {do_transaction, false},
    [SMTP_VERB_BDAT] = {do_chunk, true},        [SMTP_VERB_RSET] = {do_noop, true},
    [SMTP_VERB_NOOP] = {do_noop, true},         [SMTP_VERB_QUIT] = {do_quit, true},
    [SMTP_VERB_VRFY] = {do_vrfy, false},        [SMTP_VERB_EXPN] = {do_vrfy, false},
    [SMTP_VERB_HELP] = {do_help, true},         [SMTP_VERB_ETRN] = {do_vrfy, false},
    [SMTP_VERB_STARTTLS] = {do_starttls, true}, [SMTP_VERB_AUTH] = {do_auth, false},
    [SMTP_VERB_IDENTITY] = {do_identity, true}, [SMTP_VERB_FOREIGN] = {do_foreign, true},
};

static bool needs_tls(const struct session *session)
{
    return !is_secure(session) && (!is_mx(session) || door_listen(session->door)->tls_required);
}

/* The backend has refused the session, and the client stays to hear it (RFC 5321 section 3.1).
 */
static void repeat_refusal(struct session *session, const struct smtp_command *command)
{
    const struct smtp_reply_text *refusal = session->refusal;
    if (command->verb == SMTP_VERB_QUIT) {
        do_quit(session, command);
        return;
    }
    session_say(session, refusal->bytes, refusal->length);
    if (strncmp(refusal->bytes, "421", 3) == 0 || command->verb == SMTP_VERB_BDAT)
        session_finish(session, REPLY_NONE, "backend refused the session");
    else
        count_error(session);
}

void dialogue_take_command(struct session *session, const char *line, size_t length)
{
    struct smtp_command command;
    enum smtp_command_status status = smtp_command_parse(line, length, &command);

    session->dialogue->greeted = true;
    session->dialogue->heard_ms = clock_now_ms();
    if (session->refusal)
        repeat_refusal(session, &command);
    else if (status != SMTP_COMMAND_OK)
        dialogue_refuse(session, REPLY_BAD_BYTE);
    else if (!commands[command.verb].in_plaintext && needs_tls(session))
        dialogue_refuse(session, REPLY_TLS_FIRST);
    else
        commands[command.verb].handler(session, &command);
}

void dialogue_greet(struct session *session)
{
    size_t length;
    const char *greeting = door_greeting(session->door, &length);
    session_say(session, greeting, length);
    session->dialogue->welcomed = true;
}

void dialogue_greet_early(struct session *session)
{
    size_t length;
    const char *greeting = door_greeting(session->door, &length);
    if (!session->dialogue->welcomed && door_greets_early(session->door))
        stream_speak_early(session->client, greeting, length);
}

/* What the stream has said by itself counts as said. */
static void count_early_greeting(struct session *session)
{
    size_t length;
    (void)door_greeting(session->door, &length);
    session_count_output(session, length);
    session->dialogue->welcomed = true;
}

/* One that does not verify counts as none, where none is needed. */
static void tell_of_certificate(const struct session *session)
{
    struct log_record record;
    if (!stream_peer_fault(session->client))
        return;
    log_begin(&record, LOG_LEVEL_INFO, "client certificate does not count");
    session_log_client(session, &record);
    log_text(&record, "cause", stream_peer_fault(session->client));
    log_end(&record);
}

static void after_handshake(struct session *session)
{
    statistics_add_handshake(stream_tls_version(session->client),
                             stream_tls_cipher(session->client),
                             stream_tls_resumed(session->client));
    tell_of_certificate(session);
    session->phase = SESSION_COMMANDS;
    session->dialogue->heard_ms = clock_now_ms();
    if (stream_has_spoken(session->client))
        count_early_greeting(session);
    else if (!session->dialogue->welcomed)
        dialogue_greet(session);
}

void dialogue_event(struct session *session, enum stream_event event)
{
    switch (event) {
    case STREAM_SECURED: /* and perhaps a command came with it */
        after_handshake(session);
        dialogue_take_input(session);
        break;
    case STREAM_READABLE:
        dialogue_take_input(session);
        break;
    case STREAM_DRAINED:
        dialogue_continue(session);
        break;
    case STREAM_FAILED:
        arrival_client_left(session, stream_error(session->client));
        break;
    }
}

void dialogue_free(struct dialogue *dialogue)
{
    if (!dialogue)
        return;
    if (dialogue->request)
        auth_request_cancel(dialogue->request);
    buffer_wipe(&dialogue->input);
    sasl_wipe(&dialogue->sasl);
    free(dialogue);
}

uint64_t dialogue_deadline_ms(const struct session *session)
{
    const struct config_timeouts *timeouts = &session->service->config->timeouts;
    const struct dialogue *dialogue = session->dialogue;
    uint64_t login_ms = session->started_ms + timeouts->login_ms;
    uint64_t first_ms = UINT64_MAX;

    if (session->phase == SESSION_DELAYED)
        return dialogue->told_at_ms;
    if (session->phase == SESSION_RESOLVING)
        return dialogue->resolving_ms + timeouts->resolve_ms;
    if (session->refusal)
        return dialogue->heard_ms + timeouts->greeting_ms;
    if (session->phase == SESSION_HANDSHAKE)
        first_ms = dialogue->handshake_ms + timeouts->handshake_ms;
    else if (!dialogue->greeted)
        first_ms = session->started_ms + timeouts->greeting_ms;
    else if (is_mx(session))
        first_ms = dialogue->heard_ms + timeouts->mx_idle_ms;
    return first_ms < login_ms ? first_ms : login_ms;
}

/* At an mx: the whole time until MAIL is that of a login, and each command has one of its own.
 */
static void expire_stranger(struct session *session)
{
    const struct config_timeouts *timeouts = &session->service->config->timeouts;
    if (clock_now_ms() >= session->started_ms + timeouts->login_ms)
        session_exceed(session, STATISTICS_LIMIT_TIME_LOGIN, REPLY_TIMEOUT_MAIL,
                       "no MAIL in time");
    else
        session_exceed(session, STATISTICS_LIMIT_TIME_MX_IDLE, REPLY_TIMEOUT_GREETING,
                       "no command in time");
}

void dialogue_expire(struct session *session)
{
    if (session->phase == SESSION_DELAYED)
        login_tell_refusal(session);
    else if (session->phase == SESSION_RESOLVING)
        handover_without_name(session);
    else if (session->phase == SESSION_HANDSHAKE)
        session_exceed(session, STATISTICS_LIMIT_TIME_HANDSHAKE, REPLY_NONE,
                       "no TLS handshake in time");
    else if (!session->dialogue->greeted || session->refusal)
        session_exceed(session, STATISTICS_LIMIT_TIME_GREETING, REPLY_TIMEOUT_GREETING,
                       "no command in time");
    else if (!is_mx(session))
        session_exceed(session, STATISTICS_LIMIT_TIME_LOGIN, REPLY_TIMEOUT_LOGIN,
                       "no authentication in time");
    else
        expire_stranger(session);
}
