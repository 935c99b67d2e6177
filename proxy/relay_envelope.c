/*
 * MAIL and RCPT in the relay: the only commands that Postern changes on their way. Who sends is
 * Postern's to say, how much is the limits', to whom is an mx's, and what the backend does not
 * offer this client is not asked of it. Called by relay_commands.c.
 */
#include <string.h>

#include "proxy/abuse.h"
#include "proxy/identity.h"
#include "proxy/recipients.h"
#include "proxy/relay_internal.h"
#include "proxy/smtp/parameters.h"
#include "proxy/statistics.h"

/* Promise 3: a client's AUTH= never reaches the backend; ours does, where it is believed. */
static enum smtp_mail_status write_mail(const struct relay *relay,
                                        const struct smtp_command *command, char *out,
                                        size_t *length)
{
    const struct relay_party *party = &relay->party;
    if (party->login && identity_way(party->backend->identity)->auth_param)
        return smtp_mail_set_auth(command->arguments, command->arguments_length, party->login,
                                  out, length);
    return smtp_mail_strip_auth(command->arguments, command->arguments_length, out, length);
}

/* A stolen account is good for so many. True: refused. */
static bool is_limited(struct relay *relay, bool admitted, enum statistics_limit limit,
                       enum reply reply)
{
    if (admitted)
        return false;
    statistics_add(&statistics->limits[limit], 1);
    relay->counts.limited++;
    relay->party.limited(relay->party.context, statistics_limit_name(limit));
    relay_answer(relay, reply);
    return true;
}

static bool message_is_limited(struct relay *relay)
{
    const char *login = relay->party.login;
    return login && is_limited(relay, abuse_admit_message(relay->service->abuse, login),
                               STATISTICS_LIMIT_MESSAGES, REPLY_LOGIN_MESSAGES);
}

static bool recipient_is_limited(struct relay *relay)
{
    const char *login = relay->party.login;
    return login && is_limited(relay, abuse_admit_recipient(relay->service->abuse, login),
                               STATISTICS_LIMIT_RECIPIENTS, REPLY_LOGIN_RECIPIENTS);
}

/*
 * The client was told of more than the backend offers it, as that became known only behind the
 * identity: what the message can do without is left out, and for the rest the client comes
 * again, and is told less then (threat 26). A refusal for good would lose its mail. What this
 * listener withholds is left out likewise, and the rest of it is the backend's to judge. False:
 * refused.
 */
static bool fit_parameters(struct relay *relay, char *arguments, size_t *length,
                           const char *word)
{
    uint32_t extensions = relay->withdrawn | relay->party.listen->withhold, needed = 0;
    if (extensions)
        needed =
            smtp_parameters_leave_out(arguments, *length, word, extensions, arguments, length);
    if (!(needed & relay->withdrawn))
        return true;
    statistics_add(&statistics->rejected[REPLY_WITHDRAWN], 1);
    relay_answer(relay, REPLY_WITHDRAWN);
    return false;
}

static bool has_lost_permission(struct relay *relay)
{
    const struct relay_party *party = &relay->party;
    enum reply reply = party->may_send ? party->may_send(party->context) : REPLY_NONE;
    if (reply == REPLY_NONE)
        return false;
    statistics_add(&statistics->rejected[reply], 1);
    relay_close(relay, reply, "may no longer send without AUTH");
    return true;
}

/* Does the client announce a message in which any byte may stand (RFC 3030 section 3)? */
static bool is_binary(const char *arguments, size_t length)
{
    char unused[SMTP_COMMAND_LIMIT];
    size_t unused_length;
    return smtp_parameters_leave_out(arguments, length, "FROM:", 1u << SMTP_EXT_BINARYMIME,
                                     unused, &unused_length) != 0;
}

static const enum reply mail_replies[] = {
    [SMTP_MAIL_SYNTAX] = REPLY_MAIL_SYNTAX,
    [SMTP_MAIL_LONG] = REPLY_LINE_TOO_LONG,
    [SMTP_MAIL_LOGIN] = REPLY_BACKEND_NO_IDENTITY,
};

void relay_mail(struct relay *relay, const struct smtp_command *command, const char *line,
                size_t length)
{
    static const char verb[] = "MAIL ";
    char clean[SMTP_COMMAND_LIMIT];
    size_t clean_length = 0;
    (void)line, (void)length;

    if (has_lost_permission(relay))
        return;

    enum smtp_mail_status status = write_mail(relay, command, clean, &clean_length);
    if (status != SMTP_MAIL_OK) {
        relay_refuse(relay, mail_replies[status]);
        return;
    }
    if (!fit_parameters(relay, clean, &clean_length, "FROM:") || message_is_limited(relay))
        return;
    relay->mail_ms = relay->last_activity_ms;
    relay_record_command(relay, clean, clean_length, "FROM:");
    stream_write(relay->backend, verb, sizeof verb - 1);
    relay_forward(relay, clean, clean_length,
                  is_binary(clean, clean_length) ? EXPECT_BINARY_MAIL : EXPECT_MAIL);
}

/* An mx that knows its recipients takes mail for nobody else, however it is written. */
static enum reply judge_recipient(const struct relay *relay, const char *arguments,
                                  size_t length)
{
    struct recipients *ours = relay->party.listen->recipients;
    struct smtp_forward_path path;
    if (!ours)
        return REPLY_NONE;
    switch (smtp_forward_path_parse(arguments, length, &path)) {
    case SMTP_FORWARD_PATH_OK:
        return recipients_include(ours, &path) ? REPLY_NONE : REPLY_NOT_OURS;
    case SMTP_FORWARD_PATH_SYNTAX:
        return REPLY_RECIPIENT_SYNTAX;
    default:
        return REPLY_NOT_OURS;
    }
}

static void forward_recipient(struct relay *relay, char *arguments, size_t length)
{
    static const char verb[] = "RCPT ";
    if (!fit_parameters(relay, arguments, &length, "TO:")) {
        relay_record_refused_here(relay, arguments, length, REPLY_WITHDRAWN);
        return;
    }
    if (recipient_is_limited(relay)) {
        relay_record_refused_here(relay, arguments, length, REPLY_LOGIN_RECIPIENTS);
        return;
    }
    relay_record_command(relay, arguments, length, "TO:");
    stream_write(relay->backend, verb, sizeof verb - (length > 0 ? 1 : 2));
    relay_forward(relay, arguments, length, EXPECT_RCPT);
}

/* What is judged is what the backend gets. What cannot be read here is the backend's to refuse.
 */
void relay_recipient(struct relay *relay, const struct smtp_command *command, const char *line,
                     size_t length)
{
    char arguments[SMTP_COMMAND_LIMIT];
    size_t arguments_length = smtp_envelope_canonical(
        command->arguments, command->arguments_length, "TO:", arguments);
    (void)line, (void)length;
    if (arguments_length == 0) {
        arguments_length = command->arguments_length;
        memcpy(arguments, command->arguments, arguments_length);
    }
    enum reply reply = judge_recipient(relay, arguments, arguments_length);
    if (reply == REPLY_NONE) {
        forward_recipient(relay, arguments, arguments_length);
        return;
    }
    relay->counts.refused++;
    statistics_add(&statistics->recipients[1], 1);
    relay_record_refused_here(relay, arguments, arguments_length, reply);
    relay_refuse(relay, reply);
}
