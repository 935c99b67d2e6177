/*
 * The administration interface's listening sockets, which the master owns and
 * keeps over reloads: a unix socket for everything, with its group and mode,
 * and an address for figures alone.
 */
#ifndef POSTERN_ADMIN_SOCKETS_H
#define POSTERN_ADMIN_SOCKETS_H

#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

enum admin_kind {
    ADMIN_COMMANDS, /* the unix socket */
    ADMIN_FIGURES,  /* the address for them */
    ADMIN_KINDS,
};

struct admin_sockets;

MUST_USE struct admin_sockets *admin_sockets_new(void);
/* Closes them and removes the unix socket's file: who connects is refused. */
void admin_sockets_close(struct admin_sockets *sockets);
/* The same first. NULL is allowed. */
void admin_sockets_free(struct admin_sockets *sockets);

/* Opens what `config` names and is not open yet. False, having logged why; what was open before
 * is as it was. */
MUST_USE bool admin_sockets_open(struct admin_sockets *sockets, const struct config *config);

/* Closes all but what admin_sockets_open() was last told of, or (`keep_new` false) what it had
 * opened then. */
void admin_sockets_settle(struct admin_sockets *sockets, bool keep_new);

/*
 * From one program to the next: the words that describe an open socket, and the socket that is
 * described so, which is taken over. False: there is none, or it is not one.
 */
#define ADMIN_SOCKET_WORDS_SIZE 256
MUST_USE bool admin_sockets_describe(const struct admin_sockets *sockets, enum admin_kind kind,
                                     char out[static ADMIN_SOCKET_WORDS_SIZE]);
MUST_USE bool admin_sockets_inherit(struct admin_sockets *sockets, const char *words);

/* -1: there is none. It stays the sockets'. */
int admin_sockets_descriptor(const struct admin_sockets *sockets, enum admin_kind kind);

#endif
