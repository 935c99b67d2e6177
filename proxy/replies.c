/* The texts of replies.h. None of them repeats what a client said (threat 18). */
#include "proxy/replies.h"

#include <string.h>

#define ROW(reply, text) [reply] = {text "\r\n", sizeof(text "\r\n") - 1, #reply}

static const struct reply_text texts[REPLY_COUNT] = {
    [REPLY_NONE] = {"", 0, "REPLY_NONE"},
    ROW(REPLY_OK, "250 2.0.0 Ok"),
    ROW(REPLY_HELP,
        "214 2.0.0 EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, RSET, NOOP, QUIT; RFC 5321"),
    ROW(REPLY_BYE, "221 2.0.0 Bye"),
    ROW(REPLY_TLS_READY, "220 2.0.0 Ready to start TLS"),
    ROW(REPLY_AUTHENTICATED, "235 2.7.0 Authentication successful"),

    ROW(REPLY_UNKNOWN_COMMAND, "500 5.5.2 Command not recognized"),
    ROW(REPLY_BAD_BYTE, "500 5.5.2 Control characters are not allowed in a command"),
    ROW(REPLY_LINE_TOO_LONG, "500 5.5.2 Line too long"),
    ROW(REPLY_HELO_NAME, "501 5.5.4 A domain or address literal must follow"),
    ROW(REPLY_NO_ARGUMENT, "501 5.5.4 This command takes no argument"),
    ROW(REPLY_MAIL_SYNTAX, "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"),
    ROW(REPLY_BDAT_SYNTAX, "501 5.5.4 Syntax: BDAT size [LAST]"),
    ROW(REPLY_BDAT_NOT_OFFERED, "503 5.5.1 CHUNKING is not offered here"),
    ROW(REPLY_BDAT_FIRST, "503 5.5.1 No recipient has been accepted"),
    ROW(REPLY_CHUNKING_WITHDRAWN,
        "421 4.3.3 The mail server does not offer CHUNKING to you, try again later"),
    ROW(REPLY_WITHDRAWN,
        "451 4.3.3 The mail server does not offer this to you, say EHLO again or try later"),
    ROW(REPLY_EHLO_FIRST, "503 5.5.1 Send EHLO first"),
    ROW(REPLY_NOT_BEFORE_AUTH, "502 5.5.1 Not available before authentication"),
    ROW(REPLY_TLS_ACTIVE, "503 5.5.1 TLS is already active"),
    ROW(REPLY_NO_STARTTLS, "502 5.5.1 STARTTLS is not available behind MAIL"),
    ROW(REPLY_TLS_FIRST, "530 5.7.0 Must issue a STARTTLS command first"),
    ROW(REPLY_MAIL_FIRST, "503 5.5.1 Send MAIL first"),
    ROW(REPLY_NO_AUTH, "502 5.5.1 AUTH is not offered here"),
    ROW(REPLY_NOT_OURS, "550 5.7.1 No mail is taken for this recipient here"),
    ROW(REPLY_RECIPIENT_SYNTAX, "501 5.1.3 Syntax: RCPT TO:<address> [parameters]"),
    ROW(REPLY_AUTH_FIRST, "530 5.7.0 Authentication required"),
    ROW(REPLY_ONLY_PROXIES, "550 5.7.1 Identity commands are not accepted from clients"),

    ROW(REPLY_AUTH_SYNTAX, "501 5.5.4 Syntax: AUTH mechanism [initial-response]"),
    ROW(REPLY_AUTH_MECHANISM, "504 5.5.4 This mechanism is not offered"),
    ROW(REPLY_AUTH_MALFORMED, "501 5.5.2 Malformed authentication response"),
    ROW(REPLY_AUTH_LINE_TOO_LONG, "500 5.5.6 Authentication exchange line is too long"),
    ROW(REPLY_AUTH_CANCELLED, "501 5.7.0 Authentication cancelled"),
    ROW(REPLY_AUTH_AGAIN, "503 5.5.1 Already authenticated"),
    ROW(REPLY_AUTH_FAILED, "535 5.7.8 Authentication failed"),
    ROW(REPLY_AUTH_UNAVAILABLE,
        "454 4.7.0 Authentication is not available now, try again later"),
    ROW(REPLY_AUTH_BUSY, "454 4.7.0 Too many logins at once, try again later"),

    ROW(REPLY_AUTH_PUT_OFF, "454 4.7.0 Too many failed logins, try again later"),

    ROW(REPLY_BACKEND_UNREACHABLE,
        "454 4.4.1 The mail server cannot be reached, try again later"),
    ROW(REPLY_BACKEND_SILENT, "454 4.4.2 The mail server does not answer, try again later"),
    ROW(REPLY_BACKEND_UNWILLING,
        "454 4.3.2 The mail server is not accepting sessions, try again later"),
    ROW(REPLY_BACKEND_NO_IDENTITY,
        "454 4.7.0 The mail server could not be told who you are, try again later"),
    ROW(REPLY_BACKEND_CONFUSED,
        "454 4.3.5 The mail server does not speak SMTP as expected, try again later"),

    ROW(REPLY_TOO_MANY_ERRORS, "421 4.7.0 Too many errors"),
    ROW(REPLY_FOREIGN_PROTOCOL, "421 4.7.0 This is a mail server"),
    ROW(REPLY_BARE_NEWLINE, "521 5.5.2 Bare line end or NUL in the message"),
    ROW(REPLY_TIMEOUT_GREETING, "421 4.4.2 No command came in time"),
    ROW(REPLY_TIMEOUT_LOGIN, "421 4.4.2 No authentication came in time"),
    ROW(REPLY_TIMEOUT_MAIL, "421 4.4.2 No MAIL came in time"),
    ROW(REPLY_TIMEOUT_IDLE, "421 4.4.2 Idle for too long"),
    ROW(REPLY_TOO_SLOW, "421 4.4.2 The message comes too slowly, try again later"),
    ROW(REPLY_FULL, "421 4.3.2 Too many connections, try again later"),
    ROW(REPLY_ADDRESS_DENIED, "554 5.7.1 No connections from your address are accepted now"),
    ROW(REPLY_ADDRESS_FULL, "421 4.7.0 Too many connections from your address"),
    ROW(REPLY_ADDRESS_BUSY, "421 4.7.0 Too many connections in a short time, try again later"),
    ROW(REPLY_ADDRESS_MAIL,
        "421 4.7.0 Too many sessions with mail from your address, try again later"),
    ROW(REPLY_LOGIN_MESSAGES, "450 4.7.1 Too many messages in an hour, try again later"),
    ROW(REPLY_LOGIN_RECIPIENTS, "450 4.7.1 Too many recipients in an hour, try again later"),
    ROW(REPLY_GIVE_WAY, "421 4.3.2 Too many connections, try again later and log in sooner"),
    ROW(REPLY_SHUTTING_DOWN, "421 4.3.2 Service is shutting down"),
    ROW(REPLY_DRAINING, "421 4.3.2 No new connections are accepted now, try again later"),
    ROW(REPLY_ENDED_BY_POSTMASTER, "421 4.7.0 The session was ended by the postmaster"),
    ROW(REPLY_BACKEND_CLOSED, "421 4.3.2 The mail server closed the session"),
    ROW(REPLY_BACKEND_TIMEOUT, "421 4.4.2 The mail server does not answer"),
    ROW(REPLY_BACKEND_NONSENSE, "421 4.3.5 The mail server does not speak SMTP as expected"),
    ROW(REPLY_NO_MEMORY, "421 4.3.1 Out of memory"),
};

const struct reply_text *reply_text(enum reply reply)
{
    return &texts[reply];
}

int reply_is_error(enum reply reply)
{
    return texts[reply].text[0] >= '4';
}

const char *reply_kind(enum reply reply)
{
    return texts[reply].name + strlen("REPLY_");
}
