/* What `postern setup` is told: by flags, and by asking for what they leave open. */
#ifndef POSTERN_SETUP_ANSWERS_H
#define POSTERN_SETUP_ANSWERS_H

#include <limits.h>
#include <stdbool.h>

#include "proxy/base/compiler.h"

enum setup_way {
    SETUP_NOT_CHOSEN,
    SETUP_OWN,         /* there is a certificate with its key */
    SETUP_SELF_SIGNED, /* one is to be made */
    SETUP_REQUEST,     /* a key and a request are to be made */
    SETUP_LETSENCRYPT, /* those of a directory of certbot's */
};

#define SETUP_TEXT_SIZE 256

/* The configuration that the systemd unit reads. */
extern const char setup_answers_default_output[];

struct setup_answers {
    char hostname[SETUP_TEXT_SIZE];
    enum setup_way way;
    char certificate[PATH_MAX], key[PATH_MAX], letsencrypt[PATH_MAX];
    char backend[SETUP_TEXT_SIZE]; /* empty: whatever is found */
    char output[PATH_MAX];
    bool yes; /* nothing is asked */
    bool force;
};

/* Reads the flags. False: *status is the exit status, and something was written. */
MUST_USE bool setup_answers_read(struct setup_answers *answers, int argc, char **argv,
                                 int *status);

/* Asks for the hostname and the certificate as far as they are open, or takes what is usual;
 * `greeted` is the name in the greeting of this host's mail server, "" if there is none. False,
 * having said why on standard error: there is no answer, or it is no good. */
MUST_USE bool setup_answers_complete(struct setup_answers *answers, const char *greeted);

/* Asks for the backend, with what was found as the usual answer. */
MUST_USE bool setup_answers_backend(struct setup_answers *answers, const char *found);

#endif
