/*
 * A door: a listener as a reactor serves it, with its TLS settings, the
 * backends behind it, and what EHLO offers there before authentication: only
 * what every one of those backends is known to offer to the clients of this
 * listener, and what Postern does itself.
 */
#ifndef POSTERN_DOOR_H
#define POSTERN_DOOR_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/upstream.h"

struct door;

/*
 * `upstreams` are all of the reactor's, in the order of config->backends; like everything that
 * is given here they must outlive the door. NULL: no memory.
 */
MUST_USE struct door *door_new(const struct config *config, const struct config_listen *listen,
                               SSL_CTX *tls, struct upstream *const *upstreams);
/* NULL is allowed. */
void door_free(struct door *door);

const struct config_listen *door_listen(const struct door *door);
SSL_CTX *door_tls(const struct door *door);
/* Where its figures stand: statistics_listener(). */
unsigned door_statistics(const struct door *door);

/* Does a backend behind it want to hear the client's name? */
bool door_wants_names(const struct door *door);

/* Is this peer a load balancer, which says first whose connection it is? */
bool door_is_balanced(const struct door *door, const struct address *peer);
/* Is no limit of an address kept on this client, whose connection came from a load balancer? */
bool door_exempts(const struct door *door, const struct address *announced);

/* Does a client look from there whether the port answers? */
bool door_is_checked_from(const struct door *door, const struct address *client);

/* What a backend offers to a probe has changed. */
void door_learn(struct door *door);
/* And what it has offered to a client of this door, behind his identity. */
void door_learn_session(struct door *door, struct upstream *upstream,
                        const struct address *client, const struct smtp_ehlo *shown);

/* What a client hears first, with its line end. */
const char *door_greeting(const struct door *door, size_t *length);

/*
 * May the greeting go out within the handshake? It may where a ticket follows the handshake, as
 * a client whose Nagle waits for an acknowledgement would otherwise wait for a late one.
 */
bool door_greets_early(const struct door *door);

enum door_stage {
    DOOR_PLAINTEXT,
    DOOR_SECURE,
    DOOR_CERTIFIED, /* and the client's certificate says who it is */
    DOOR_STAGES,
};

/* The whole reply to a client's EHLO before authentication: STARTTLS in plaintext, AUTH under
 * TLS. Good until the next call; *offered are its bits 1u << enum smtp_extension. */
const char *door_ehlo(struct door *door, enum door_stage stage, const struct address *client,
                      size_t *length, uint32_t *offered);

/* The mechanisms that a client may use then: bits 1u << enum sasl_mechanism. */
uint32_t door_mechanisms(const struct door *door, enum door_stage stage);

/* Which backends one session has been refused by. Zero is the start. */
struct door_choice {
    uint32_t tried; /* bits by place in listen->backends */
    unsigned first; /* where the turn of this session begins */
    bool begun;
};

/*
 * The backend to try next: of those that answer, in the configured order, then of the others.
 * NULL: all have been tried.
 */
struct upstream *door_choose(struct door *door, struct door_choice *choice);

#endif
