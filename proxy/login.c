/*
 * AUTH (RFC 4954): the SASL exchange with the client, the question to the auth pool, and its
 * answer. Everything but a success is told by the session's timer, at a time that depends
 * neither on PAM's answer nor on how long PAM took (threats 45 and 46); no other client waits
 * for it (promise 6). All refusals read the same (threat 15); an outage is 454 (promise 8).
 * attempts.c counts what PAM's answers raise, whether or not the client is still there.
 */
#include <stdio.h>
#include <string.h>

#include "proxy/abuse.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/slab.h"
#include "proxy/session_internal.h"

static void count(const struct session *session, enum statistics_login result)
{
    struct auth_pool_state pool = auth_pool_state(session->service->pool);
    statistics_add(&statistics->logins[session->mechanism][result], 1);
    statistics_set(&statistics->logins_waiting, pool.queued);
}

/* The user as the client wrote it; escaped by the log. */
static void log_failure(const struct session *session, const char *user,
                        enum statistics_login result, const char *reason)
{
    static const char *const results[STATISTICS_LOGINS] = {
        [STATISTICS_LOGIN_REJECTED] = "rejected",
        [STATISTICS_LOGIN_UNAVAILABLE] = "unavailable",
        [STATISTICS_LOGIN_MALFORMED] = "malformed",
        [STATISTICS_LOGIN_PUT_OFF] = "put off",
    };
    count(session, result);
    struct log_record record;
    log_begin(&record, LOG_LEVEL_INFO, "login failed");
    session_log_client(session, &record);
    log_text(&record, "user", user);
    log_text(&record, "mechanism",
             sasl_mechanism_name((enum sasl_mechanism)session->mechanism));
    log_text(&record, "result", results[result]);
    log_text(&record, "reason", reason);
    log_end(&record);
    session_note_failure(session, FAILURE_LOGIN, user, reason ? reason : results[result]);
}

/* The reply waits until then, and with it everything that the client has sent meanwhile. */
static void tell_at(struct session *session, enum login_refusal refusal, uint64_t due_ms)
{
    session->dialogue->refusal = refusal;
    session->dialogue->told_at_ms = due_ms;
    session->phase = SESSION_DELAYED;
}

/* For a refusal without PAM: leaves when one of PAM's would that was asked now. */
static void tell_later(struct session *session, enum login_refusal refusal)
{
    uint64_t now_ms = clock_now_ms();
    tell_at(session, refusal,
            auth_schedule_due_ms(auth_pool_schedule(session->service->pool), now_ms, now_ms));
}

static void tell_put_off(struct session *session)
{
    static const enum statistics_limit limits[] = {
        [ABUSE_ADDRESS] = STATISTICS_LIMIT_FAILED_ADDRESS,
        [ABUSE_NETWORK] = STATISTICS_LIMIT_FAILED_NETWORK,
        [ABUSE_USER] = STATISTICS_LIMIT_FAILED_USER,
    };
    enum abuse_judgement judgement = session->dialogue->judgement;
    session_exceed(session, limits[judgement], REPLY_AUTH_PUT_OFF, abuse_reason(judgement));
}

void login_tell_refusal(struct session *session)
{
    static const enum reply replies[] = {
        [LOGIN_REJECTED] = REPLY_AUTH_FAILED,
        [LOGIN_UNDECIDED] = REPLY_AUTH_UNAVAILABLE,
        [LOGIN_BUSY] = REPLY_AUTH_BUSY,
    };
    struct dialogue *dialogue = session->dialogue;
    enum login_refusal refusal = dialogue->refusal;
    session->phase = SESSION_COMMANDS;
    if (refusal == LOGIN_PUT_OFF) {
        tell_put_off(session);
        return;
    }
    if (refusal == LOGIN_REPEATED) {
        dialogue_refuse(session, REPLY_AUTH_FAILED);
        dialogue_continue(session);
        return;
    }
    if (refusal != LOGIN_BUSY &&
        ++dialogue->failed_logins >= session->service->config->auth.attempts) {
        session_exceed(session, STATISTICS_LIMIT_ATTEMPTS, replies[refusal],
                       "too many failed logins");
        return;
    }
    session_reply(session, replies[refusal]);
    dialogue_continue(session);
}

/* For those who watch; the log has the login with the session's end. */
static void log_login(const struct session *session)
{
    struct log_record record;
    if (!log_is_watched() && !log_wants(LOG_LEVEL_DEBUG))
        return;
    log_begin_watched(&record, LOG_LEVEL_DEBUG, "login accepted");
    session_log_client(session, &record);
    log_text(&record, "user", session->login);
    log_text(&record, "mechanism", session_mechanism(session));
    log_end(&record);
}

static void accept_login(struct session *session, const char *login)
{
    count(session, STATISTICS_LOGIN_ACCEPTED);
    session->login = slab_text(login, strlen(login));
    if (!session->login) {
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
        return;
    }
    log_login(session);
    handover_begin(session);
}

/* PAM was not asked, or its answer is not told: the reply says nothing about the password. */
static void put_off(struct session *session, enum abuse_judgement judgement)
{
    log_failure(session, session->dialogue->sasl.user, STATISTICS_LOGIN_PUT_OFF,
                abuse_reason(judgement));
    session->dialogue->judgement = judgement;
}

/* The record says of an outage whether it counts as a failed login. */
static void log_refusal(const struct session *session, const struct auth_outcome *outcome,
                        enum statistics_login result)
{
    const struct auth_message_verdict *verdict = outcome->verdict;
    char reason[AUTH_REASON_LIMIT + 64];
    bool is_added = verdict->result == AUTH_UNAVAILABLE && outcome->is_counted;
    snprintf(reason, sizeof reason, "%s%s", verdict->reason,
             is_added ? "; counted as a failed login, as one of several in a row" : "");
    log_failure(session, session->dialogue->sasl.user, result, reason);
}

static void on_outcome(void *context, const struct auth_outcome *outcome)
{
    static const struct {
        enum statistics_login counted;
        enum login_refusal told;
    } refusals[AUTH_RESULT_COUNT] = {
        [AUTH_REJECTED] = {STATISTICS_LOGIN_REJECTED, LOGIN_REJECTED},
        [AUTH_UNAVAILABLE] = {STATISTICS_LOGIN_UNAVAILABLE, LOGIN_UNDECIDED},
    };
    struct session *session = context;
    struct dialogue *dialogue = session->dialogue;
    const struct auth_message_verdict *verdict = outcome->verdict;

    dialogue->request = NULL;
    statistics_observe(&statistics->login_duration, outcome->elapsed_ms);
    if (outcome->judgement != ABUSE_NONE) {
        put_off(session, (enum abuse_judgement)outcome->judgement);
        tell_at(session, LOGIN_PUT_OFF, outcome->due_ms);
    } else if (verdict->result == AUTH_ACCEPTED) {
        sasl_wipe(&dialogue->sasl);
        accept_login(session, verdict->login);
    } else {
        if (verdict->result == AUTH_REJECTED)
            refused_add(&dialogue->refused, dialogue->trial);
        log_refusal(session, outcome, refusals[verdict->result].counted);
        tell_at(session, refusals[verdict->result].told, outcome->due_ms);
    }
    if (session->phase == SESSION_DELAYED)
        sasl_wipe(&dialogue->sasl);
    session_settle(session);
}

static void refuse_crowd(struct session *session)
{
    log_failure(session, session->dialogue->sasl.user, STATISTICS_LOGIN_UNAVAILABLE,
                "too many logins are waiting");
    statistics_add(&statistics->limits[STATISTICS_LIMIT_AUTH_QUEUE], 1);
    tell_later(session, LOGIN_BUSY);
}

/*
 * Thunderbird and others try a wrong password with PLAIN, and at once with LOGIN. It is refused
 * in the time of the first, counts as a mistake, so that it has an end, and as nothing else.
 */
static bool is_repeated(struct session *session)
{
    struct dialogue *dialogue = session->dialogue;
    dialogue->trial = refused_hash(dialogue->sasl.user, dialogue->sasl.password);
    if (!refused_has(&dialogue->refused, dialogue->trial))
        return false;
    count(session, STATISTICS_LOGIN_REPEATED);
    tell_later(session, LOGIN_REPEATED);
    sasl_wipe(&dialogue->sasl);
    return true;
}

static void submit(struct session *session)
{
    struct sasl *sasl = &session->dialogue->sasl;
    if (is_repeated(session))
        return;
    struct abuse_client client = session_abuse_client(session);
    enum abuse_judgement judgement =
        abuse_judge_login(session->service->abuse, client, sasl->user);
    if (judgement != ABUSE_NONE) {
        put_off(session, judgement);
        tell_later(session, LOGIN_PUT_OFF);
        sasl_wipe(sasl);
        return;
    }
    session->dialogue->request = auth_pool_submit(
        session->service->pool, sasl->user, sasl->password,
        (struct auth_client){client.address, client.is_exempt}, on_outcome, session);
    explicit_bzero(sasl->password, sizeof sasl->password);
    if (!session->dialogue->request) {
        refuse_crowd(session);
        return;
    }
    statistics_set(&statistics->logins_waiting, auth_pool_state(session->service->pool).queued);
    session->phase = SESSION_VERDICT;
}

static void refuse_other_name(struct session *session)
{
    log_failure(session, session->dialogue->sasl.user, STATISTICS_LOGIN_REJECTED,
                "authorization as somebody else");
    tell_later(session, LOGIN_REJECTED);
    sasl_wipe(&session->dialogue->sasl);
}

/* TLS has done the asking already (RFC 4422 appendix A). */
static void take_certificate(struct session *session)
{
    const char *name = session_certified_name(session);
    const char *wanted = session->dialogue->sasl.user;
    if (!name || (*wanted && strcmp(wanted, name) != 0)) {
        refuse_other_name(session);
        return;
    }
    sasl_wipe(&session->dialogue->sasl);
    accept_login(session, name);
}

static void challenge(struct session *session, const char *text)
{
    session->phase = SESSION_CHALLENGE;
    session_say(session, "334 ", 4);
    session_say(session, text, strlen(text));
    session_say(session, "\r\n", 2);
}

static void log_malformed(const struct session *session)
{
    const struct sasl *sasl = &session->dialogue->sasl;
    log_failure(session, *sasl->user ? sasl->user : NULL, STATISTICS_LOGIN_MALFORMED,
                sasl->fault);
}

/* What the mechanism made of the client's last word. */
static void take_status(struct session *session, enum sasl_status status, const char *text)
{
    struct sasl *sasl = &session->dialogue->sasl;
    session->phase = SESSION_COMMANDS;
    switch (status) {
    case SASL_CHALLENGE:
        challenge(session, text);
        return;
    case SASL_CREDENTIALS:
        if (session->mechanism == SASL_EXTERNAL)
            take_certificate(session);
        else
            submit(session);
        return;
    case SASL_CANCELLED:
        dialogue_refuse(session, REPLY_AUTH_CANCELLED);
        break;
    case SASL_MALFORMED:
        log_malformed(session);
        dialogue_refuse(session, REPLY_AUTH_MALFORMED);
        break;
    case SASL_EMPTY: /* people leave it empty: to them it is a wrong password */
        log_malformed(session);
        tell_later(session, LOGIN_REJECTED);
        break;
    case SASL_REFUSED:
        refuse_other_name(session);
        return;
    }
    sasl_wipe(sasl);
}

static void start(struct session *session, enum sasl_mechanism mechanism, const char *initial,
                  size_t length)
{
    const char *text = "";
    session->mechanism = (uint8_t)mechanism;
    enum sasl_status status =
        sasl_start(&session->dialogue->sasl, mechanism, initial, length, &text);
    take_status(session, status, text);
}

void login_begin(struct session *session, const struct smtp_command *command)
{
    const char *name = command->arguments;
    size_t length = command->arguments_length;
    const char *space = memchr(name, ' ', length);
    size_t name_length = space ? (size_t)(space - name) : length, response = name_length;
    int mechanism = sasl_mechanism_lookup(name, name_length);

    while (response < length && name[response] == ' ')
        response++;
    if (name_length == 0)
        dialogue_refuse(session, REPLY_AUTH_SYNTAX);
    else if (mechanism < 0 ||
             !(door_mechanisms(session->door, session_stage(session)) & (1u << mechanism)))
        dialogue_refuse(session, REPLY_AUTH_MECHANISM);
    else
        start(session, (enum sasl_mechanism)mechanism, space ? name + response : NULL,
              length - response);
}

void login_continue(struct session *session, const char *line, size_t length)
{
    const char *text = "";
    enum sasl_status status = sasl_continue(&session->dialogue->sasl, line, length, &text);
    take_status(session, status, text);
}

void login_line_too_long(struct session *session)
{
    session->dialogue->sasl.fault = "line over " TEXT_OF(SMTP_AUTH_LINE_LIMIT) " bytes";
    log_malformed(session);
    sasl_wipe(&session->dialogue->sasl);
    session->phase = SESSION_COMMANDS;
    dialogue_refuse(session, REPLY_AUTH_LINE_TOO_LONG);
}
