/* Every reply that Postern gives by itself, as a table: code, enhanced status code (RFC 3463),
 * text. */
#ifndef POSTERN_REPLIES_H
#define POSTERN_REPLIES_H

#include <stdint.h>

enum reply {
    REPLY_NONE, /* nothing is said */
    REPLY_OK,
    REPLY_HELP,
    REPLY_BYE,
    REPLY_TLS_READY,
    REPLY_AUTHENTICATED,

    REPLY_UNKNOWN_COMMAND,
    REPLY_BAD_BYTE,
    REPLY_LINE_TOO_LONG,
    REPLY_HELO_NAME,
    REPLY_NO_ARGUMENT,
    REPLY_MAIL_SYNTAX,
    REPLY_BDAT_SYNTAX,
    REPLY_BDAT_NOT_OFFERED,
    REPLY_BDAT_FIRST,
    REPLY_CHUNKING_WITHDRAWN,
    REPLY_WITHDRAWN,
    REPLY_EHLO_FIRST,
    REPLY_NOT_BEFORE_AUTH,
    REPLY_TLS_ACTIVE,
    REPLY_NO_STARTTLS,
    REPLY_TLS_FIRST,
    REPLY_MAIL_FIRST,
    REPLY_NO_AUTH,
    REPLY_NOT_OURS,
    REPLY_RECIPIENT_SYNTAX,
    REPLY_AUTH_FIRST,
    REPLY_ONLY_PROXIES,

    REPLY_AUTH_SYNTAX,
    REPLY_AUTH_MECHANISM,
    REPLY_AUTH_MALFORMED,
    REPLY_AUTH_LINE_TOO_LONG,
    REPLY_AUTH_CANCELLED,
    REPLY_AUTH_AGAIN,
    REPLY_AUTH_FAILED,
    REPLY_AUTH_UNAVAILABLE,
    REPLY_AUTH_BUSY,
    REPLY_AUTH_PUT_OFF,

    REPLY_BACKEND_UNREACHABLE,
    REPLY_BACKEND_SILENT,
    REPLY_BACKEND_UNWILLING,
    REPLY_BACKEND_NO_IDENTITY,
    REPLY_BACKEND_CONFUSED,

    REPLY_TOO_MANY_ERRORS,
    REPLY_FOREIGN_PROTOCOL,
    REPLY_BARE_NEWLINE,
    REPLY_TIMEOUT_GREETING,
    REPLY_TIMEOUT_LOGIN,
    REPLY_TIMEOUT_MAIL,
    REPLY_TIMEOUT_IDLE,
    REPLY_FULL,
    REPLY_ADDRESS_DENIED,
    REPLY_ADDRESS_FULL,
    REPLY_ADDRESS_BUSY,
    REPLY_ADDRESS_MAIL,
    REPLY_LOGIN_MESSAGES,
    REPLY_LOGIN_RECIPIENTS,
    REPLY_GIVE_WAY,
    REPLY_SHUTTING_DOWN,
    REPLY_DRAINING,
    REPLY_ENDED_BY_POSTMASTER,
    REPLY_BACKEND_CLOSED,
    REPLY_BACKEND_TIMEOUT,
    REPLY_BACKEND_NONSENSE,
    REPLY_NO_MEMORY,
    REPLY_COUNT,
};

struct reply_text {
    const char *text; /* the whole line with its CRLF */
    uint16_t length;  /* bytes */
    const char *name; /* of its enum reply */
};

const struct reply_text *reply_text(enum reply reply);

/* "UNKNOWN_COMMAND": what it is called where replies are counted. */
const char *reply_kind(enum reply reply);

/* 4xx or 5xx: counts against the client. */
int reply_is_error(enum reply reply);

#endif
