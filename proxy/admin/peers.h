/*
 * Asking every reactor, this one and the others, and gathering what they
 * answer until all have, or time is up.
 */
#ifndef POSTERN_ADMIN_PEERS_H
#define POSTERN_ADMIN_PEERS_H

#include "proxy/admin/message.h"
#include "proxy/admin/server.h"
#include "proxy/base/compiler.h"
#include "proxy/service.h"

struct admin_peers;

MUST_USE struct admin_peers *admin_peers_new(struct service *service);
/* Those who wait for an answer are told what there is. NULL is allowed. */
void admin_peers_free(struct admin_peers *peers);

/* All reactors but this one: forgotten, and one added by its socket, which is taken over. */
void admin_peers_forget(struct admin_peers *peers);
void admin_peers_add(struct admin_peers *peers, int fd);

/* All other reactors, and each that is added later, send their events to this socket from now
 * on; -1: those that are added do not. It stays the caller's. */
void admin_peers_watch(struct admin_peers *peers, int fd);

struct admin_gathered {
    uint32_t matched;
    unsigned silent; /* reactors that have not answered */
    struct admin_session *sessions;
    size_t count;
};

typedef void admin_gathered_callback(struct admin_request *request,
                                     const struct admin_gathered *gathered);

/* Asks; `callback` comes once, perhaps before this returns. The version and serial of the
 * question are filled in here. */
void admin_peers_ask(struct admin_peers *peers, struct admin_question *question,
                     admin_gathered_callback *callback, struct admin_request *request);

#endif
