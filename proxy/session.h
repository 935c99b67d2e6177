/*
 * A session: one client from its connection to the line in the log that ends
 * it. Owns the client's stream and, after AUTH, the backend's.
 */
#ifndef POSTERN_SESSION_H
#define POSTERN_SESSION_H

#include "proxy/abuse.h"
#include "proxy/base/address.h"
#include "proxy/door.h"
#include "proxy/replies.h"
#include "proxy/service.h"

struct session;
struct connection;

/* "a1b2c3d4e5f6" and its NUL. */
#define SESSION_ID_SIZE 17

/* How many states a session may be in, and their names: "handshake". */
#define SESSION_STATES 10u
const char *session_state_name(unsigned state);

/*
 * Takes the connected socket over; whatever goes wrong is logged. The session frees itself when
 * it ends. The door must outlive it; `client` is needed during the call only.
 */
void session_begin(struct service *service, struct door *door, int fd,
                   struct abuse_client client);

/* The session that a connection is part of. */
struct session *session_of(struct connection *connection);

/* What is to be known of a session; texts are its own, or NULL. */
struct session_view {
    char id[SESSION_ID_SIZE];
    struct address client;
    const char *listener, *user, *mechanism, *helo, *tls, *cipher, *backend;
    unsigned state;
    uint32_t messages, recipients;
    uint64_t age_ms, bytes_in, bytes_out;
};
void session_view(const struct session *session, struct session_view *out);

/* Would an end now leave it open whether a message was accepted? */
bool session_awaits_verdict(const struct session *session);

/* Is its backend's session being opened? */
bool session_is_opening(const struct session *session);

/* Ends it now: says `reply`, logs `cause` (static text), frees it. */
void session_abort(struct session *session, enum reply reply, const char *cause);

/* Ends it: now, or when the client has heard whether its message was accepted (threat 49), for
 * which the backend has its usual time. May free it. */
void session_end(struct session *session, enum reply reply, const char *cause);

/* SIGTERM: ends it as soon as no transaction is under way. May free it. */
void session_stop(struct session *session);

#endif
