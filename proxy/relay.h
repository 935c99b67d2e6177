/*
 * The relay: carries the SMTP session between an authenticated client and its
 * backend, and understands it to the end.
 *
 *   client ──> command lines ─┬─ allowed ──> backend, and the queue remembers what was asked
 *                             └─ ours to say ──> answered here, in its turn of the queue
 *   backend ──> replies ──> the queue says to what ──> client
 *
 * Only the reply to DATA says whether what follows is a message, so nothing
 * after DATA is looked at before it has come, nor anything after a message or
 * a chunk before the reply to that. ETRN and BDAT go alone: a chunk is sent
 * only where all earlier replies say that the backend expects one. A message
 * ends with CRLF.CRLF and with nothing else (promise 5); one that the client
 * leaves half is never ended for the backend. A backend that refuses a chunk,
 * or a message before its end, hears nothing more: what follows could be
 * commands to it. Replies are the backend's own (promise 4).
 *
 * It holds no buffer while it is idle, and bounded ones otherwise: each side
 * is read only as far as the other takes it (promise 9).
 */
#ifndef POSTERN_RELAY_H
#define POSTERN_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buffer.h"
#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/replies.h"
#include "proxy/service.h"
#include "proxy/smtp/ehlo.h"
#include "proxy/smtp/trace.h"
#include "tls/stream.h"

struct relay;

/* How a transaction ended. */
enum relay_result {
    RELAY_ACCEPTED,
    RELAY_REFUSED,    /* by the backend or by Postern: the message, or all recipients */
    RELAY_ABANDONED,  /* by the client, before its message */
    RELAY_LOST,       /* the session ended before the message was complete */
    RELAY_UNANSWERED, /* the backend has all of it, and may have accepted it */
};

/* A transaction that is over. Texts are needed during the call only. */
struct relay_message {
    enum relay_result result;
    const char *sender;     /* "" is the empty path; NULL: unknown */
    const char *recipients; /* the first ones, with commas between them; NULL: none */
    const char *reply;      /* the first line of the reply that decided; NULL: there was none */
    uint32_t accepted, refused; /* recipients */
    uint64_t size_bytes;        /* as the client sent it, as far as it came */
    uint64_t repaired;          /* bare line ends and NULs */
    uint64_t duration_ms;       /* from MAIL on */
};

/* Whom it serves, and where. What it points to must outlive the relay. */
struct relay_party {
    const struct config_listen *listen;
    const struct config_backend *backend;
    const char *login;  /* NULL: nobody's */
    bool authenticated; /* by AUTH, and not by the postmaster's word for an address */
    uint32_t offered;   /* what the client was told by EHLO: bits 1u << enum smtp_extension */
    /* Asked at each MAIL: REPLY_NONE, or what is said before it ends. NULL: it may always send.
     */
    enum reply (*may_send)(void *context);
    /* Called when the user has reached a limit: its statistics_limit_name(). */
    void (*limited)(void *context, const char *limit);
    /* Told of each transaction that is over; NULL: of none, and no address is kept. */
    void (*message)(void *context, const struct relay_message *message);
    /* Writes the Received field of a message that begins now; NULL: none is put in. */
    size_t (*trace)(void *context, char out[static SMTP_TRACE_SIZE]);
    void *context;
};

/* NULL: no memory. Counts begin after the leftover. The backend's stream becomes the relay's in
 * any case; the client's stays the caller's and must outlive the relay. `leftover` (what the
 * client sent after AUTH) becomes empty. */
MUST_USE struct relay *relay_new(struct service *service, const struct relay_party *party,
                                 struct stream *client, struct stream *backend,
                                 const struct smtp_ehlo *ehlo, struct buffer *leftover);
void relay_free(struct relay *relay);

/* What became of it. While `over` is false the session goes on. */
struct relay_end {
    bool over;
    bool quit;         /* by QUIT: the client has nothing more to say */
    enum reply reply;  /* still to be said to the client */
    const char *cause; /* for the log; static text */
};
const struct relay_end *relay_end(const struct relay *relay);

struct relay_counts {
    uint32_t messages;            /* accepted by the backend */
    uint32_t recipients;          /* accepted by the backend */
    uint32_t limited;             /* messages and recipients beyond an hour's limit */
    uint32_t refused;             /* recipients that are not ours, of an mx */
    uint32_t backend_refused;     /* recipients and messages, by the backend */
    uint64_t bytes_in, bytes_out; /* from and to the client, inside TLS */
    uint64_t repaired;            /* bare line ends and NULs in messages */
};
const struct relay_counts *relay_counts(const struct relay *relay);

/* The first line of the last reply by which the backend refused one of those, cut if it is
 * long; NULL: there was none. */
#define RELAY_REFUSAL_SIZE 256
const char *relay_refusal(const struct relay *relay);

/* The first look at the leftover; `client_ended`: nothing follows it. */
void relay_start(struct relay *relay, bool client_ended);

/* Tells of a transaction that ends with the session. */
void relay_end_message(struct relay *relay);

/* Has the client heard the first lines of a reply of the backend's, and not its last? Nothing
 * else may be said to it then. */
bool relay_is_in_reply(const struct relay *relay);

/* Events of the two streams. */
void relay_client_event(struct relay *relay, enum stream_event event);
void relay_backend_event(struct relay *relay, enum stream_event event);

/* Ends as soon as no transaction is under way. */
void relay_stop(struct relay *relay);

/* Has the backend a whole message that it has not answered? A client that is cut off now sends
 * it again, although it may have been accepted. */
bool relay_awaits_verdict(const struct relay *relay);

/* Ends it: now, or once the client has heard the verdict that relay_awaits_verdict() means;
 * `reply` and `cause` (static text) are said then. The backend has its usual time to answer. */
void relay_finish_after_verdict(struct relay *relay, enum reply reply, const char *cause);

/* When relay_expire() is due if nothing moves until then (clock_now_ms()). */
uint64_t relay_deadline_ms(const struct relay *relay);
void relay_expire(struct relay *relay);

#endif
