/*
 * Speaking to a backend as Postern would, for the doctor: as somebody who has logged in, as a
 * stranger, or without an identity.
 */
#ifndef POSTERN_DOCTOR_TALK_H
#define POSTERN_DOCTOR_TALK_H

#include "proxy/doctor_internal.h"
#include "proxy/doctor_smtp.h"

enum doctor_as {
    DOCTOR_AS_NOBODY,   /* without an identity, as any program of this host */
    DOCTOR_AS_STRANGER, /* from far away, not logged in */
    DOCTOR_AS_USER,     /* from far away, logged in */
};

/* How far doctor_talk_begin() came. */
enum doctor_step {
    DOCTOR_STEP_CONNECT,
    DOCTOR_STEP_GREETING,
    DOCTOR_STEP_TLS,
    DOCTOR_STEP_EHLO,
    DOCTOR_STEP_IDENTITY,
    DOCTOR_STEP_READY,
};

#define DOCTOR_TALK_WHY_SIZE (DOCTOR_WHY_SIZE + DOCTOR_REPLY_SIZE)

struct doctor_program;

struct doctor_talk {
    struct doctor_smtp smtp;
    const struct config_backend *backend;
    const char *hostname;
    enum doctor_as as;
    enum doctor_step step;
    SSL_CTX *context;               /* NULL: without TLS */
    struct doctor_program *program; /* that answers; NULL: none */
    struct doctor_reply greeting, reply;
    char why[DOCTOR_TALK_WHY_SIZE]; /* of a failure or refusal */
};

/* False: `step` and `why` tell how far it came, and there is nothing to end. */
MUST_USE bool doctor_talk_begin(struct doctor_talk *talk, const struct doctor *doctor,
                                const struct config_backend *backend, enum doctor_as as);
void doctor_talk_end(struct doctor_talk *talk);

enum doctor_relayed {
    DOCTOR_RELAYED,
    DOCTOR_NOT_RELAYED, /* `why` has the reply */
    DOCTOR_UNDECIDED,   /* it was refused for another reason, in `why` */
};

/* Asks it to take mail to elsewhere, up to RCPT, and takes that back. */
enum doctor_relayed doctor_talk_try(struct doctor_talk *talk);

/* "127.0.0.1:25", or the program. */
const char *doctor_backend_name(const struct config_backend *backend);

#endif
