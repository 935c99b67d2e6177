/*
 * The doctor's checks of backends: does each answer, believe who the client is, relay for
 * whoever has logged in, and for nobody else? Called through the table in doctor.c. A
 * transaction goes as far as RCPT, to a domain that takes no mail, and ends with RSET: never
 * with a message.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/doctor_internal.h"
#include "proxy/doctor_postfix.h"
#include "proxy/doctor_talk.h"
#include "proxy/identity.h"

static const struct config_backend *backend_at(const struct doctor *doctor, size_t index)
{
    return &doctor->config->backends[index];
}

/* Does an mx that takes every recipient use it? */
static bool serves_open_mx(const struct doctor *doctor, size_t backend)
{
    for (size_t i = 0; i < doctor->config->listen_count; i++) {
        const struct config_listen *listen = &doctor->config->listens[i];
        if (listen->role != CONFIG_ROLE_MX || listen->recipients)
            continue;
        for (size_t j = 0; j < listen->backend_count; j++)
            if (listen->backends[j] == backend)
                return true;
    }
    return false;
}

static bool wants_tls(const struct doctor_talk *talk)
{
    return talk->reply.code == 530 && strcasestr(talk->reply.text, "STARTTLS");
}

static void advise_tls(struct doctor *doctor, const struct config_backend *backend)
{
    char line[DOCTOR_POSTFIX_SIZE];
    doctor_postfix_line(backend, DOCTOR_POSTFIX_TLS, line);
    doctor_advise(doctor,
                  "it wants TLS first: set \"tls\" in section backend, or let it do without "
                  "(Postfix: %s)",
                  line);
}

static void advise_identity(struct doctor *doctor, const struct doctor_talk *talk)
{
    char line[DOCTOR_POSTFIX_SIZE];
    doctor_postfix_line(talk->backend, DOCTOR_POSTFIX_XCLIENT, line);
    if (wants_tls(talk))
        advise_tls(doctor, talk->backend);
    else
        doctor_advise(doctor,
                      "let Postern say who its clients are (Postfix: %s), or choose another "
                      "\"identity\"",
                      line);
}

static const char *greeting_advice(const struct identity_way *way)
{
    if (way->proxy > 0)
        return "see that this port, and no other, expects a PROXY header of this version";
    return way->xclient ? "the mail server's own log says why (Postfix ends its sessions where "
                          "it has no SASL mechanism: apt-get install libsasl2-modules, "
                          "then postfix stop and postfix start)"
                        : "the mail server's own log says why";
}

static void advise_start(struct doctor *doctor, const struct doctor_talk *talk)
{
    char line[DOCTOR_POSTFIX_SIZE];
    bool postfix = identity_way(talk->backend->identity)->xclient &&
                   strcmp(talk->smtp.why, strerrordesc_np(ECONNREFUSED)) == 0;
    if (*talk->backend->program)
        doctor_advise(doctor, "see \"program\" and \"user\" in section backend");
    else if (postfix && doctor_postfix_start(talk->backend, line))
        doctor_advise(doctor, "%s: until then everybody who logs in gets 454", line);
    else
        doctor_advise(doctor, "start the mail server, or change \"address\" in section "
                              "backend: until then everybody who logs in gets 454");
}

/* What to do if doctor_talk_begin() came no further. */
static void advise_step(struct doctor *doctor, const struct doctor_talk *talk)
{
    const struct config_backend *backend = talk->backend;
    switch (talk->step) {
    case DOCTOR_STEP_CONNECT:
        advise_start(doctor, talk);
        break;
    case DOCTOR_STEP_TLS:
        doctor_advise(doctor, "see \"tls\", \"ca\", \"tls_name\" and \"tls_common_name\" in "
                              "section backend");
        break;
    case DOCTOR_STEP_IDENTITY:
        advise_identity(doctor, talk);
        break;
    default:
        doctor_advise(doctor, "%s", greeting_advice(identity_way(backend->identity)));
    }
}

void doctor_check_backends(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->backend_count; i++) {
        const struct config_backend *backend = backend_at(doctor, i);
        struct doctor_talk talk;
        doctor->backends[i].answers =
            doctor_talk_begin(&talk, doctor, backend, DOCTOR_AS_NOBODY);
        if (doctor->backends[i].answers) {
            doctor_good(doctor, "%s: answers: %s", doctor_backend_name(backend),
                        talk.greeting.text);
            doctor_talk_end(&talk);
            continue;
        }
        doctor_fault(doctor, "%s: %s", doctor_backend_name(backend), talk.why);
        advise_step(doctor, &talk);
    }
}

static void advise_login(struct doctor *doctor, const struct config_backend *backend)
{
    char line[DOCTOR_POSTFIX_SIZE];
    doctor_postfix_line(backend, DOCTOR_POSTFIX_LOGIN, line);
    doctor_advise(doctor,
                  "it has not believed the login, or does not relay for logins. Postfix: "
                  "apt-get install libsasl2-modules, then %s",
                  line);
}

/* What the backend lacks that does not relay for whoever has logged in. */
static void advise_relay(struct doctor *doctor, const struct doctor_talk *talk)
{
    const struct config_backend *backend = talk->backend;
    const struct identity_way *way = identity_way(backend->identity);
    if (wants_tls(talk))
        advise_tls(doctor, backend);
    else if (way->xclient)
        advise_login(doctor, backend);
    else if (way->proxy > 0)
        doctor_advise(doctor, "let it relay for all that comes through this port, which only "
                              "Postern may reach");
    else if (way->auth_param)
        doctor_advise(doctor, "let it relay where MAIL FROM has AUTH=, on a port that only "
                              "Postern reaches");
    else if (way->transport == IDENTITY_PROGRAM)
        doctor_advise(doctor, "let the program relay for whoever has logged in; Exim believes "
                              "-oMaa from its own user and its trusted_users only");
    else
        doctor_advise(doctor, "let it relay for this host: Postern lets in only whoever has "
                              "logged in");
}

static void tell_identity(struct doctor *doctor, const struct config_backend *backend,
                          const struct doctor_talk *talk, enum doctor_relayed relayed)
{
    const char *name = doctor_backend_name(backend);
    switch (relayed) {
    case DOCTOR_RELAYED:
        doctor_good(doctor, "%s: relays for logged-in users (identity = \"%s\")", name,
                    identity_way_name(backend->identity));
        break;
    case DOCTOR_NOT_RELAYED:
        doctor_fault(doctor, "%s: does not relay for a logged-in user: %s", name, talk->why);
        advise_relay(doctor, talk);
        break;
    case DOCTOR_UNDECIDED:
        doctor_skip(doctor, "%s: could not check whether logged-in users may relay: %s", name,
                    talk->why);
        break;
    }
}

/* True if a stranger is refused in the same words: then the login has changed nothing. */
static bool refuses_strangers_so(struct doctor *doctor, const struct config_backend *backend,
                                 const char *why)
{
    struct doctor_talk talk;
    if (*why != '5' || !identity_way(backend->identity)->xclient ||
        !doctor_talk_begin(&talk, doctor, backend, DOCTOR_AS_STRANGER))
        return false;
    bool same = doctor_talk_try(&talk) == DOCTOR_NOT_RELAYED && strcmp(talk.why, why) == 0;
    doctor_talk_end(&talk);
    return same;
}

static void check_identity(struct doctor *doctor, size_t index)
{
    const struct config_backend *backend = backend_at(doctor, index);
    const struct identity_way *way = identity_way(backend->identity);
    struct doctor_talk talk;
    if (way->transport == IDENTITY_TRANSPARENT) {
        doctor_skip(doctor,
                    "%s: cannot be tested from here: send a message from another machine",
                    doctor_backend_name(backend));
    } else if (!doctor_talk_begin(&talk, doctor, backend, DOCTOR_AS_USER)) {
        doctor_fault(doctor, "%s: %s", doctor_backend_name(backend), talk.why);
        advise_step(doctor, &talk);
        doctor->backends[index].no_logins = true;
    } else {
        enum doctor_relayed relayed = doctor_talk_try(&talk);
        if (relayed == DOCTOR_UNDECIDED && refuses_strangers_so(doctor, backend, talk.why))
            relayed = DOCTOR_NOT_RELAYED;
        tell_identity(doctor, backend, &talk, relayed);
        doctor_talk_end(&talk);
        doctor->backends[index].no_logins = relayed == DOCTOR_NOT_RELAYED;
    }
}

void doctor_check_identities(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->backend_count; i++)
        if (doctor->backends[i].answers && config_submission_of(doctor->config, i))
            check_identity(doctor, i);
}

/* Told of a client from far away that has not logged in. Behind a PROXY header there is no
 * login: whoever comes is taken for let in, which only people who log in may be. */
static void check_stranger(struct doctor *doctor, size_t index)
{
    const struct config_backend *backend = backend_at(doctor, index);
    const struct identity_way *way = identity_way(backend->identity);
    struct doctor_talk talk;
    bool open = serves_open_mx(doctor, index);
    if (!doctor_talk_begin(&talk, doctor, backend, DOCTOR_AS_STRANGER)) {
        doctor_skip(doctor, "%s: %s", doctor_backend_name(backend), talk.why);
        return;
    }
    enum doctor_relayed relayed = doctor_talk_try(&talk);
    if (relayed == DOCTOR_UNDECIDED) {
        doctor_skip(doctor, "%s: could not check whether a stranger may relay: %s",
                    doctor_backend_name(backend), talk.why);
    } else if (relayed == DOCTOR_NOT_RELAYED) {
        doctor_good(doctor, "%s: does not relay for a stranger: %s",
                    doctor_backend_name(backend), talk.why);
    } else if (way->xclient || open) {
        doctor_fault(doctor, "%s: an open relay: it took mail from a stranger to elsewhere",
                     doctor_backend_name(backend));
        doctor_advise(doctor, "let it relay for logged-in users only (Postfix: "
                              "smtpd_relay_restrictions = permit_sasl_authenticated, "
                              "reject_unauth_destination)");
    } else {
        doctor_note(doctor, "%s: relays for all that comes through this port",
                    doctor_backend_name(backend));
        doctor_advise(doctor, "let nothing but Postern reach it");
    }
    doctor_talk_end(&talk);
}

void doctor_check_strangers(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->backend_count; i++) {
        const struct identity_way *way = identity_way(backend_at(doctor, i)->identity);
        if (doctor->backends[i].answers && (way->xclient || way->proxy > 0))
            check_stranger(doctor, i);
    }
}

/* A program of this host that connects without an identity. Of a backend that does not relay
 * for users it may be the wrong port, such as port 25, which is right as it is. */
static void check_local(struct doctor *doctor, size_t index)
{
    const struct config_backend *backend = backend_at(doctor, index);
    struct doctor_talk talk;
    if (doctor->backends[index].no_logins) {
        doctor_skip(doctor, "%s: to be looked at when it relays for logged-in users",
                    doctor_backend_name(backend));
        return;
    }
    if (!doctor_talk_begin(&talk, doctor, backend, DOCTOR_AS_NOBODY)) {
        doctor_skip(doctor, "%s: %s", doctor_backend_name(backend), talk.why);
        return;
    }
    enum doctor_relayed relayed = doctor_talk_try(&talk);
    if (relayed == DOCTOR_UNDECIDED) {
        doctor_skip(doctor, "%s: could not check whether this host may relay: %s",
                    doctor_backend_name(backend), talk.why);
    } else if (relayed == DOCTOR_NOT_RELAYED) {
        doctor_good(doctor, "%s: does not relay for this host without a login: %s",
                    doctor_backend_name(backend), talk.why);
    } else if (identity_way(backend->identity)->xclient) {
        doctor_fault(doctor, "%s: relays for anything on this host, without a login",
                     doctor_backend_name(backend));
        doctor_advise(doctor,
                      "unless local programs need it, take that right away (Postfix: no "
                      "permit_mynetworks): any other proxy before it is an open relay");
    } else {
        doctor_note(doctor, "%s: relays for anything on this host, as identity = \"%s\" needs",
                    doctor_backend_name(backend), identity_way_name(backend->identity));
        doctor_advise(doctor,
                      "run nothing else on this host that passes mail from outside to it");
    }
    doctor_talk_end(&talk);
}

/* Behind a PROXY header nobody is this host; a program has no port. */
void doctor_check_local(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->backend_count; i++) {
        const struct config_backend *backend = backend_at(doctor, i);
        const struct identity_way *way = identity_way(backend->identity);
        if (doctor->backends[i].answers && way->proxy == 0 &&
            way->transport != IDENTITY_PROGRAM)
            check_local(doctor, i);
    }
}
