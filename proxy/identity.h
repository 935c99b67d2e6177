/*
 * The ways in which a backend hears who and where a client is (promise 3), as
 * a table: what each carries, and what has to be said when. A way that the
 * postmaster chose by name carries what it can; "auto" and "xclient" refuse
 * what is not whole.
 */
#ifndef POSTERN_IDENTITY_H
#define POSTERN_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/smtp/ehlo.h"
#include "proxy/smtp/proxy_header.h"
#include "proxy/smtp/xclient.h"
#include "tls/peer.h"

/* The mechanism of those who are let in by the postmaster's word, without AUTH. */
#define IDENTITY_PERMITTED "PERMIT"

/* Who and where a client is. What may be NULL is not known, or does not apply. */
struct identity {
    char id[17];           /* the session's, as in the log */
    const char *login;     /* NULL: not authenticated */
    const char *mechanism; /* NULL likewise */
    const char *helo;      /* what it said after EHLO or HELO; NULL: it said neither */
    bool esmtp;            /* it was EHLO */
    const char *name;      /* of its address, confirmed forward; NULL: unknown */
    const struct address *client;
    const struct address *local;          /* where it connected to */
    const struct tls_peer *peer;          /* its certificate */
    const char *server_name;              /* that it asked for */
    bool alpn;                            /* it agreed to "smtp" */
    const char *tls_version, *tls_cipher; /* NULL: plaintext */
};

/* How the connection to the backend is made. */
enum identity_transport {
    IDENTITY_SOCKET,      /* from this host */
    IDENTITY_TRANSPARENT, /* from the client's own address */
    IDENTITY_PROGRAM,     /* a process on a socketpair */
};

struct identity_way {
    enum identity_transport transport;
    bool carries_address; /* the backend can tell clients apart by it */
    bool carries_login;   /* and users, to let them alone relay */
    bool xclient;         /* after EHLO */
    bool auth_param;      /* AUTH= on each MAIL FROM */
    bool trace;           /* a Received field on each message */
    unsigned proxy;       /* version of the PROXY header before everything else; 0: none */
};

const struct identity_way *identity_way(enum config_identity identity);
/* Does this backend hear where each client is, or no session is opened? */
MUST_USE bool identity_tells_address(const struct config_backend *backend);
/* The word for it in a file; NULL: there is no such way. */
const char *identity_way_name(unsigned identity);

/* Room for what identity_preamble() writes: what the strictest reader of PROXY headers takes.
 */
#define IDENTITY_PREAMBLE_SIZE PROXY_HEADER_SMALL_SIZE

/*
 * Writes what goes to the backend before everything else; without an identity, for a probe.
 * Returns false if the client cannot be told; *length is 0 where nothing has to be said.
 */
MUST_USE bool identity_preamble(const struct identity_way *way, const struct identity *identity,
                                char out[static IDENTITY_PREAMBLE_SIZE], size_t *length);

/*
 * Does a backend that offers `ehlo` take the identity of a client, with a login or without, as
 * the configuration requires it? False: each such session is refused.
 */
MUST_USE bool identity_is_taken(const struct config_backend *config,
                                const struct smtp_ehlo *ehlo, bool login);

/* Room for the reason of a refusal, with its NUL. */
#define IDENTITY_CAUSE_SIZE 160

/*
 * Writes the XCLIENT commands for a backend that offers `ehlo`. Returns false, with `cause`, if
 * something is missing without which the configuration refuses a session.
 */
MUST_USE bool identity_xclient(const struct identity *identity,
                               const struct config_backend *config,
                               const struct smtp_ehlo *ehlo, struct smtp_xclient_commands *out,
                               char cause[static IDENTITY_CAUSE_SIZE]);

#endif
