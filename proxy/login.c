/*
 * AUTH (RFC 4954): the SASL exchange with the client, the question to the auth pool, and its
 * answer. A refusal is told by the session's timer, so that nobody else waits for it (promise
 * 6); all refusals read the same (threat 15); an outage is 454 (promise 8).
 */
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

/* A refusal comes no sooner than the configured delay, counted from the attempt, or what PAM's
 * modules wish for: how long they took does not show. */
static void delay_refusal(struct session *session, uint32_t wished_ms, uint64_t elapsed_ms)
{
    uint64_t delay_ms = session->service->config->auth.failure_delay_ms;
    if (wished_ms > delay_ms)
        delay_ms = wished_ms;
    session->phase = SESSION_DELAYED;
    session->dialogue->told_at_ms =
        clock_now_ms() + (delay_ms > elapsed_ms ? delay_ms - elapsed_ms : 0);
}

void login_tell_refusal(struct session *session)
{
    session->phase = SESSION_COMMANDS;
    if (++session->dialogue->failed_logins >= session->service->config->auth.attempts) {
        session_exceed(session, STATISTICS_LIMIT_ATTEMPTS, REPLY_AUTH_FAILED,
                       "too many failed logins");
        return;
    }
    session_reply(session, REPLY_AUTH_FAILED);
    dialogue_continue(session);
}

static void accept_login(struct session *session, const char *login)
{
    count(session, STATISTICS_LOGIN_ACCEPTED);
    session->login = slab_text(login, strlen(login));
    if (!session->login) {
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
        return;
    }
    handover_begin(session);
}

static void report_outage(struct session *session)
{
    session->phase = SESSION_COMMANDS;
    session_reply(session, REPLY_AUTH_UNAVAILABLE);
    dialogue_continue(session);
}

/* What PAM says, or would say, is nobody's to know now. */
static bool put_off(struct session *session, enum abuse_judgement judgement)
{
    static const enum statistics_limit limits[] = {
        [ABUSE_ADDRESS] = STATISTICS_LIMIT_FAILED_ADDRESS,
        [ABUSE_NETWORK] = STATISTICS_LIMIT_FAILED_NETWORK,
        [ABUSE_USER] = STATISTICS_LIMIT_FAILED_USER,
    };
    struct sasl *sasl = &session->dialogue->sasl;
    if (judgement == ABUSE_NONE)
        return false;
    log_failure(session, sasl->user, STATISTICS_LOGIN_PUT_OFF, abuse_reason(judgement));
    sasl_wipe(sasl);
    session_exceed(session, limits[judgement], REPLY_AUTH_PUT_OFF, abuse_reason(judgement));
    return true;
}

/* Others may have failed, here or at another machine, while PAM was asked: guesses at the same
 * time are no more than those in turn. */
static bool is_put_off_meanwhile(struct session *session)
{
    if (!put_off(session,
                 abuse_judge_verdict(session->service->abuse, session_abuse_client(session),
                                     session->dialogue->sasl.user)))
        return false;
    session_settle(session);
    return true;
}

static void on_verdict(void *context, const struct auth_message_verdict *verdict,
                       uint64_t elapsed_ms)
{
    static const enum statistics_login results[AUTH_RESULT_COUNT] = {
        [AUTH_REJECTED] = STATISTICS_LOGIN_REJECTED,
        [AUTH_UNAVAILABLE] = STATISTICS_LOGIN_UNAVAILABLE,
    };
    struct session *session = context;
    struct dialogue *dialogue = session->dialogue;

    dialogue->request = NULL;
    statistics_observe(&statistics->login_duration, elapsed_ms);
    if (verdict->result != AUTH_UNAVAILABLE && is_put_off_meanwhile(session))
        return;
    if (verdict->result == AUTH_ACCEPTED)
        abuse_login_succeeded(session->service->abuse, session_abuse_client(session),
                              dialogue->sasl.user);
    else if (verdict->result == AUTH_REJECTED)
        abuse_login_failed(session->service->abuse, session_abuse_client(session),
                           dialogue->sasl.user);
    if (verdict->result != AUTH_ACCEPTED)
        log_failure(session, dialogue->sasl.user, results[verdict->result], verdict->reason);
    sasl_wipe(&dialogue->sasl);

    if (verdict->result == AUTH_ACCEPTED)
        accept_login(session, verdict->login);
    else if (verdict->result == AUTH_REJECTED)
        delay_refusal(session, verdict->delay_ms, elapsed_ms);
    else
        report_outage(session);
    session_settle(session);
}

static void submit(struct session *session)
{
    struct sasl *sasl = &session->dialogue->sasl;
    if (put_off(session, abuse_judge_login(session->service->abuse,
                                           session_abuse_client(session), sasl->user)))
        return;
    session->dialogue->request =
        auth_pool_submit(session->service->pool, sasl->user, sasl->password,
                         &session->client_address, on_verdict, session);
    explicit_bzero(sasl->password, sizeof sasl->password);
    if (session->dialogue->request) {
        statistics_set(&statistics->logins_waiting,
                       auth_pool_state(session->service->pool).queued);
        session->phase = SESSION_VERDICT;
        return;
    }
    log_failure(session, sasl->user, STATISTICS_LOGIN_UNAVAILABLE,
                "too many logins are waiting");
    statistics_add(&statistics->limits[STATISTICS_LIMIT_AUTH_QUEUE], 1);
    session->phase = SESSION_COMMANDS;
    session_reply(session, REPLY_AUTH_BUSY);
}

static void refuse_other_name(struct session *session)
{
    log_failure(session, session->dialogue->sasl.user, STATISTICS_LOGIN_REJECTED,
                "authorization as somebody else");
    delay_refusal(session, 0, 0);
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
        log_failure(session, NULL, STATISTICS_LOGIN_MALFORMED, NULL);
        dialogue_refuse(session, REPLY_AUTH_MALFORMED);
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
    size_t name_length = space ? (size_t)(space - name) : length;
    int mechanism = sasl_mechanism_lookup(name, name_length);

    if (name_length == 0)
        dialogue_refuse(session, REPLY_AUTH_SYNTAX);
    else if (mechanism < 0 ||
             !(door_mechanisms(session->door, session_stage(session)) & (1u << mechanism)))
        dialogue_refuse(session, REPLY_AUTH_MECHANISM);
    else
        start(session, (enum sasl_mechanism)mechanism, space ? space + 1 : NULL,
              space ? length - name_length - 1 : 0);
}

void login_continue(struct session *session, const char *line, size_t length)
{
    const char *text = "";
    enum sasl_status status = sasl_continue(&session->dialogue->sasl, line, length, &text);
    take_status(session, status, text);
}

void login_line_too_long(struct session *session)
{
    sasl_wipe(&session->dialogue->sasl);
    session->phase = SESSION_COMMANDS;
    dialogue_refuse(session, REPLY_AUTH_LINE_TOO_LONG);
}
