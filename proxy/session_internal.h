/*
 * The session's struct, shared by the files that a client passes through, in
 * this order: session.c, arrival.c, dialogue_input.c, dialogue.c, login.c, handover.c (then
 * relay.c, which knows it not).
 */
#ifndef POSTERN_SESSION_INTERNAL_H
#define POSTERN_SESSION_INTERNAL_H

#include <event2/event_struct.h>

#include "auth/refused.h"
#include "auth/sasl.h"
#include "proxy/abuse.h"
#include "proxy/backend.h"
#include "proxy/base/buffer.h"
#include "proxy/connections.h"
#include "proxy/door.h"
#include "proxy/failures.h"
#include "proxy/relay.h"
#include "proxy/session.h"
#include "proxy/smtp/command.h"
#include "proxy/statistics.h"

/*
 *   PROXY ──> FIRST_BYTE ──┬──────────┐   where the listener has them
 *                          v          v
 *                      HANDSHAKE ──> COMMANDS, which are the first on others
 *
 *   HANDSHAKE ──> COMMANDS ──AUTH──> CHALLENGE ──> VERDICT ──> RESOLVING, OPENING ──> RELAY
 *       ^            │  ^               │             │           │          │
 *       └─ STARTTLS ─┘  └── cancelled ──┴── DELAYED <─┘           │          │
 *   every phase ──────────────────────────────────────────────────┴──────────┴──> OVER
 */
enum session_phase {
    SESSION_PROXY,      /* a load balancer's header */
    SESSION_FIRST_BYTE, /* which tells TLS from plain SMTP */
    SESSION_HANDSHAKE,  /* TLS */
    SESSION_COMMANDS,
    SESSION_CHALLENGE, /* the next line answers a SASL challenge */
    SESSION_VERDICT,   /* with the auth pool */
    SESSION_DELAYED,   /* refused, and not told yet */
    SESSION_RESOLVING, /* only the client's name is still awaited */
    SESSION_OPENING,   /* the backend's session */
    SESSION_RELAY,
    SESSION_OVER, /* freed at the end of this turn */
};
_Static_assert(SESSION_OVER == SESSION_STATES, "every other phase has a name");

/* Why a login is none. Each but the first two is 454. */
enum login_refusal {
    LOGIN_REJECTED,
    LOGIN_REPEATED,  /* as before, with the same password: no further failed login */
    LOGIN_UNDECIDED, /* PAM could not say */
    LOGIN_BUSY,      /* the queue is full */
    LOGIN_PUT_OFF,   /* after too many others; ends the session */
};

/* What is needed until AUTH has succeeded, and not after. */
struct dialogue {
    struct buffer input;
    size_t line_bytes;  /* of it: the line that is being dealt with, with its end */
    bool skipping_line; /* an over-long one; its error has been counted */
    bool welcomed;      /* the greeting has been said */
    bool greeted;       /* a first command has come */
    bool input_ended;
    unsigned errors;
    unsigned failed_logins;
    struct sasl sasl;
    struct auth_request *request;
    struct refused refused;         /* what has been rejected */
    uint64_t trial;                 /* SESSION_VERDICT: refused_hash() of what PAM is asked */
    enum login_refusal refusal;     /* SESSION_DELAYED: what is told */
    enum abuse_judgement judgement; /* of LOGIN_PUT_OFF */
    uint64_t told_at_ms;            /* SESSION_DELAYED: when it is told */
    uint64_t handshake_ms;          /* SESSION_HANDSHAKE: when it began */
    uint64_t opened_ms;             /* SESSION_FIRST_BYTE: likewise */
    uint64_t heard_ms;              /* SESSION_COMMANDS: the last command, or handshake */
    uint64_t resolving_ms;          /* SESSION_RESOLVING: likewise */
};

struct session {
    struct connection connection;
    struct service *service;
    struct door *door;
    struct stream *client;
    struct dialogue *dialogue; /* NULL from SESSION_RELAY on */
    struct door_choice choice; /* among the door's backends */
    struct upstream *upstream; /* the one that was chosen; NULL: none yet */
    struct backend *backend;   /* SESSION_OPENING */
    struct relay *relay;       /* SESSION_RELAY */
    uint8_t phase;             /* enum session_phase */
    uint8_t counted_phase;     /* the one that the statistics have it in */
    uint8_t mechanism;         /* enum sasl_mechanism */
    struct event timer;
    uint64_t timer_ms; /* when it rings; UINT64_MAX: never */
    uint64_t number;
    uint64_t started_ms;
    uint64_t opening_ms; /* when the backend was last asked */
    struct address client_address;
    struct address local_address; /* found when it is needed, or announced by a balancer */
    bool is_balanced;             /* came through a load balancer, which has to say for whom */
    bool is_exempt;               /* from limits of addresses */
    bool is_check;                /* that balancer's own, or another health check: not logged */
    char *helo;                   /* what followed EHLO or HELO, made safe; NULL: nothing yet */
    char *helo_said; /* the same as it was said, for the log; NULL: there is no difference */
    bool esmtp;
    uint32_t offered; /* by the last EHLO before the relay: bits 1u << enum smtp_extension */
    struct resolver_request *lookup; /* NULL: none is under way */
    char *name;                      /* of the client's address, confirmed; NULL: unknown */
    char *login;                     /* PAM's; NULL: not authenticated */
    bool is_permitted;               /* that is the postmaster's word, without AUTH */
    uint64_t bytes_in, bytes_out;    /* before the relay */
    const char *cause;               /* how it ended, for the log */
    char *cause_text;                /* the same, where it is not static */
    struct smtp_reply_text *refusal; /* the backend's, with which all is answered; or NULL */
    bool may_fare_better;            /* a backend failed otherwise than with 5xx */
};

struct log_record;

/* session.c */
void session_id(const struct session *session, char out[static SESSION_ID_SIZE]);
/* The fields that say whose record it is: id, listener, client, port. */
void session_log_client(const struct session *session, struct log_record *record);
/* For the interface: `user` as the client wrote it, or NULL. */
void session_note_failure(const struct session *session, enum failure_kind kind,
                          const char *user, const char *reason);
/* The client as limits of addresses see it. */
struct abuse_client session_abuse_client(const struct session *session);
/* How the login was proved, for logs and the backend; NULL: there is none. */
const char *session_mechanism(const struct session *session);
/* What has been reached, for door_ehlo(). */
enum door_stage session_stage(const struct session *session);
/* Who the client is by its certificate; NULL: nobody whom the mapping knows. */
const char *session_certified_name(const struct session *session);
void session_say(struct session *session, const char *text, size_t length);
/* Counts what was said in another way. */
void session_count_output(struct session *session, size_t length);
void session_reply(struct session *session, enum reply reply);
/* The session is over at the end of this turn; the first cause stays. */
void session_finish(struct session *session, enum reply reply, const char *cause);
/* The same where a limit is the cause, which is counted. */
void session_exceed(struct session *session, enum statistics_limit limit, enum reply reply,
                    const char *cause);
/* Ends every turn: flushes, sets the timer, frees a session that is over. It may be gone. */
void session_settle(struct session *session);

/* arrival.c: until the greeting or the handshake */
void arrival_begin(struct session *session);
void arrival_event(struct session *session, enum stream_event event);
uint64_t arrival_deadline_ms(const struct session *session);
void arrival_expire(struct session *session);
/* Ends a session whose client has closed, or broken, the connection before the relay. */
void arrival_client_left(struct session *session, const char *cause);
/* Marks a session as a health check that its client ends now, from a network of the listener's
 * health_checks, having tried neither to log in nor to send mail, and without a mistake. */
void arrival_note_check(struct session *session);

/* dialogue.c: SMTP until AUTH */
void dialogue_greet(struct session *session);
/* The same with the handshake that is about to begin, if the client's TLS allows it. */
void dialogue_greet_early(struct session *session);
void dialogue_event(struct session *session, enum stream_event event);
/* A line without its end. */
void dialogue_take_command(struct session *session, const char *line, size_t length);
/* An error reply, counted. */
void dialogue_refuse(struct session *session, enum reply reply);
void dialogue_free(struct dialogue *dialogue);
uint64_t dialogue_deadline_ms(const struct session *session);
void dialogue_expire(struct session *session);

/* dialogue_input.c: lines until the relay */
void dialogue_take_input(struct session *session);
/* Goes on with what the client has already sent, and says whether more is to be read. */
void dialogue_continue(struct session *session);

/* login.c: AUTH */
void login_begin(struct session *session, const struct smtp_command *command);
void login_continue(struct session *session, const char *line, size_t length);
void login_line_too_long(struct session *session);
void login_tell_refusal(struct session *session);

/* session_message.c: for the relay; `context` is the session */
void session_log_message(void *context, const struct relay_message *message);

/* permission.c: may the client send without AUTH, as somebody who is its login from now on? */
MUST_USE bool permission_take(struct session *session);
/* May it go on? REPLY_NONE; or what it hears: the order has ended, or is about somebody else.
 */
MUST_USE enum reply permission_judge(const struct session *session);

/* handover.c: from the verdict, or a first MAIL without AUTH, to the relay */
void handover_begin(struct session *session);
/* SESSION_RESOLVING: the name has not come in time. */
void handover_without_name(struct session *session);

#endif
