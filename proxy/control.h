/*
 * Master and reactor: small datagrams of one fixed shape on a SOCK_SEQPACKET
 * pair, with at most one descriptor each. The master takes a reactor's
 * messages for hostile: what does not fit is logged and ignored, and none of
 * them carries a path, an address or a pid.
 */
#ifndef POSTERN_CONTROL_H
#define POSTERN_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

/* A new number for each change of the shape, or of what a number means: a master that has
 * become another binary still speaks with the former one's reactors, and gives them auth
 * workers and openers of its own. So auth/message.h and opener_message.h count, too. */
#define CONTROL_VERSION 3u

enum control_type {
    /* master to reactor */
    CONTROL_WORKER, /* number: slot; descriptor: the socket of a new auth worker */
    CONTROL_OPENER, /* descriptor: the socket of a new opener */
    CONTROL_ACCEPT, /* all of the generation are ready: accept */
    CONTROL_DRAIN,  /* accept no more; end when the last session has ended. number: 1 if the
                       master leaves, and replaces no helper from now on */
    CONTROL_STOP,   /* the same, and ask every session to end: the configured time at most;
                       number: 1 serve the administration interface until told again, with 0 */
    CONTROL_ADMIN,  /* number: enum admin_kind; descriptor: the socket to listen on (none: not)
                     */
    CONTROL_PEERS,  /* forget other reactors: those that live now follow */
    CONTROL_PEER,   /* descriptor: towards another reactor, to ask it */
    CONTROL_ASKED,  /* descriptor: towards the reactor that will ask this one */
    CONTROL_RELOADED, /* number: 1 done, 0 refused; descriptor: a file with the reasons */
    /* both ways: wished by a reactor, and then told to all of them */
    CONTROL_REFUSE,    /* number: 1 refuse new connections, 0 accept them again */
    CONTROL_LOG_LEVEL, /* number: enum log_level */
    /* reactor to master */
    CONTROL_READY,        /* the listeners are being served */
    CONTROL_WORKER_FAULT, /* number: slot whose worker is to be killed and replaced */
    CONTROL_RELOAD,       /* as by SIGHUP, and CONTROL_RELOADED when that is over */
    /* Newer ones come last: a former program's reactors still use the numbers above. */
    CONTROL_WAITS,        /* the time to stop is over, and clients still await the replies to
                             whole messages: these have timeouts.backend_reply from now on */
    CONTROL_WORKER_ENDED, /* master to reactor; number: slot whose worker's process has ended */
    CONTROL_WORKER_RETIRED, /* reactor to master; number: slot whose worker has served its time,
                               to be killed and replaced; it is no loss */
    CONTROL_REOPEN, /* both ways: a reactor wishes (number: 0) that the log file is opened
                       again, and all hear number: enum control_reopened */
    CONTROL_TYPE_COUNT,
};

enum control_reopened {
    CONTROL_REOPENED,
    CONTROL_REOPEN_FAILED, /* the log says why; the old file stays in use */
    CONTROL_REOPEN_NONE,   /* the log goes to no file */
};

struct control_message {
    uint32_t type;   /* enum control_type */
    uint32_t number; /* see there */
};

/* A connected pair, close-on-exec, non-blocking. */
MUST_USE bool control_pair(int pair[2]);

/* Sends with a descriptor (-1: none), which stays the caller's. False: errno tells. */
MUST_USE bool control_send(int fd, const struct control_message *message, int descriptor);

enum control_status {
    CONTROL_OK,
    CONTROL_AGAIN,  /* nothing there */
    CONTROL_CLOSED, /* the other side is gone */
    CONTROL_BROKEN, /* not one of these messages; any descriptor in it was closed */
};

/* Receives one; *descriptor is the caller's, -1 if there was none. */
MUST_USE enum control_status control_receive(int fd, struct control_message *message,
                                             int *descriptor);

#endif
