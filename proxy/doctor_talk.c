/*
 * From the connection to a backend up to where it would take mail, as backend.c goes it, but
 * blocking and for the doctor: whom it announces does not exist. Never says DATA.
 */
#include "proxy/doctor_talk.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proxy/doctor_program.h"
#include "proxy/identity.h"
#include "tls/client_context.h"

/* An address of nobody's (RFC 5737), and domains that take no mail (RFC 2606). */
#define CLIENT    "192.0.2.1:49152"
#define LOCAL     "127.0.0.1:587"
#define LOGIN     "postern-doctor"
#define ELSEWHERE "postern-doctor@example.net"
#define OUTSIDER  "postern-doctor@example.com"

PRINTF_LIKE(2, 3) static bool fail(struct doctor_talk *talk, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(talk->why, sizeof talk->why, format, arguments);
    va_end(arguments);
    return false;
}

static void parse(const char *text, struct address *out)
{
    const char *why;
    if (!address_parse(text, out, &why))
        memset(out, 0, sizeof *out);
}

static bool start_program(struct doctor_talk *talk, const struct doctor *doctor)
{
    struct opener_order order = {
        .backend = (uint16_t)(talk->backend - doctor->config->backends),
        .esmtp = true,
        .login = LOGIN,
        .mechanism = "PLAIN",
        .tls = "TLSv1.3",
    };
    const char *why = NULL;
    int fd = -1;
    parse(CLIENT, &order.client);
    parse(LOCAL, &order.local);
    snprintf(order.helo, sizeof order.helo, "%s", talk->hostname);
    talk->program = doctor_program_start(doctor->config, doctor->root, &order, &fd, &why);
    if (!talk->program)
        return fail(talk, "cannot be started: %s", why);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    doctor_smtp_adopt(&talk->smtp, fd);
    return true;
}

static bool connect_to(struct doctor_talk *talk, const struct doctor *doctor)
{
    talk->step = DOCTOR_STEP_CONNECT;
    if (*talk->backend->program)
        return start_program(talk, doctor);
    return doctor_smtp_open(&talk->smtp, &talk->backend->address) ||
           fail(talk, "cannot be reached: %s", talk->smtp.why);
}

static bool say_preamble(struct doctor_talk *talk, const struct identity *identity)
{
    char preamble[IDENTITY_PREAMBLE_SIZE];
    size_t length;
    if (!identity_preamble(identity_way(talk->backend->identity),
                           talk->as == DOCTOR_AS_NOBODY ? NULL : identity, preamble, &length))
        return fail(talk, "the identity is too long for a PROXY header");
    return length == 0 || doctor_smtp_write(&talk->smtp, preamble, length) ||
           fail(talk, "took no PROXY header: %s", talk->smtp.why);
}

static bool secure(struct doctor_talk *talk)
{
    const struct config_backend *backend = talk->backend;
    char host[ADDRESS_HOST_SIZE];
    talk->step = DOCTOR_STEP_TLS;
    address_host(&backend->address, host);
    talk->context =
        tls_client_context_new(*backend->ca ? backend->ca : NULL, backend->tls_common_name);
    if (!talk->context)
        return fail(talk, "TLS: its authorities cannot be read");
    return doctor_smtp_secure(&talk->smtp, talk->context,
                              *backend->tls_name ? backend->tls_name : host) ||
           fail(talk, "%s", talk->smtp.why);
}

static bool take_greeting(struct doctor_talk *talk)
{
    talk->step = DOCTOR_STEP_GREETING;
    if (!doctor_smtp_read(&talk->smtp, &talk->greeting))
        return fail(talk, "no greeting: %s", talk->smtp.why);
    return talk->greeting.code == 220 || fail(talk, "greets with %s", talk->greeting.text);
}

static bool say_hello(struct doctor_talk *talk)
{
    talk->step = DOCTOR_STEP_EHLO;
    if (!doctor_smtp_say(&talk->smtp, &talk->reply, "EHLO %s", talk->hostname))
        return fail(talk, "no answer to EHLO: %s", talk->smtp.why);
    return talk->reply.code == 250 || fail(talk, "answers EHLO with %s", talk->reply.text);
}

static bool start_tls(struct doctor_talk *talk)
{
    talk->step = DOCTOR_STEP_TLS;
    if (!talk->reply.ehlo.starttls)
        return fail(talk, "does not offer STARTTLS");
    if (!doctor_smtp_say(&talk->smtp, &talk->reply, "STARTTLS"))
        return fail(talk, "no answer to STARTTLS: %s", talk->smtp.why);
    if (talk->reply.code != 220)
        return fail(talk, "answers STARTTLS with %s", talk->reply.text);
    return secure(talk) && say_hello(talk);
}

static bool say_xclient(struct doctor_talk *talk, const struct identity *identity)
{
    struct smtp_xclient_commands commands;
    char cause[IDENTITY_CAUSE_SIZE];
    talk->step = DOCTOR_STEP_IDENTITY;
    if (!identity_xclient(identity, talk->backend, &talk->reply.ehlo, &commands, cause))
        return fail(talk, "%s", cause);
    for (unsigned i = 0; i < commands.count; i++) {
        if (!doctor_smtp_write(&talk->smtp, commands.text[i], commands.length[i]) ||
            !doctor_smtp_read(&talk->smtp, &talk->reply))
            return fail(talk, "no answer to XCLIENT: %s", talk->smtp.why);
        if (talk->reply.code / 100 != 2)
            return fail(talk, "refuses XCLIENT: %s", talk->reply.text);
    }
    return say_hello(talk);
}

static bool open_session(struct doctor_talk *talk, const struct doctor *doctor,
                         const struct identity *identity)
{
    const struct config_backend *backend = talk->backend;
    if (!say_preamble(talk, identity) ||
        (backend->tls == CONFIG_BACKEND_TLS_IMPLICIT && !secure(talk)) || !take_greeting(talk))
        return false;
    talk->hostname = doctor->config->hostname;
    if (!say_hello(talk) || (backend->tls == CONFIG_BACKEND_TLS_STARTTLS && !start_tls(talk)) ||
        (talk->as != DOCTOR_AS_NOBODY && identity_way(backend->identity)->xclient &&
         !say_xclient(talk, identity)))
        return false;
    talk->step = DOCTOR_STEP_READY;
    return true;
}

bool doctor_talk_begin(struct doctor_talk *talk, const struct doctor *doctor,
                       const struct config_backend *backend, enum doctor_as as)
{
    struct address client, local;
    const struct identity identity = {
        .id = "doctor",
        .login = as == DOCTOR_AS_USER ? LOGIN : NULL,
        .mechanism = as == DOCTOR_AS_USER ? "PLAIN" : NULL,
        .helo = doctor->config->hostname,
        .esmtp = true,
        .client = &client,
        .local = &local,
        .tls_version = "TLSv1.3",
        .tls_cipher = "TLS_AES_128_GCM_SHA256",
    };
    parse(CLIENT, &client);
    parse(LOCAL, &local);
    memset(talk, 0, sizeof *talk);
    talk->backend = backend;
    talk->hostname = doctor->config->hostname;
    talk->as = as;
    if (!connect_to(talk, doctor))
        return false;
    if (open_session(talk, doctor, &identity))
        return true;
    doctor_talk_end(talk);
    return false;
}

void doctor_talk_end(struct doctor_talk *talk)
{
    if (talk->step == DOCTOR_STEP_READY)
        (void)!doctor_smtp_say(&talk->smtp, &talk->reply, "QUIT");
    doctor_smtp_close(&talk->smtp);
    SSL_CTX_free(talk->context);
    doctor_program_end(talk->program);
    talk->program = NULL;
    talk->context = NULL;
}

/* Words of the servers that we know, for "you may not send that through me". */
static bool is_about_relaying(const struct doctor_reply *reply)
{
    static const char *const words[] = {"relay", "invalid recipient", "cannot deliver"};
    for (size_t i = 0; reply->code >= 400 && i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(reply->text, words[i]))
            return true;
    return false;
}

/* A stranger who is refused for good is refused, whatever the reason; of whoever has logged in
 * it must be that he may not relay. */
static enum doctor_relayed judge(const struct doctor_talk *talk)
{
    bool refused = is_about_relaying(&talk->reply) ||
                   (talk->as != DOCTOR_AS_USER && talk->reply.code / 100 == 5);
    if (talk->reply.code / 100 == 2)
        return DOCTOR_RELAYED;
    return refused ? DOCTOR_NOT_RELAYED : DOCTOR_UNDECIDED;
}

/* Asks whether mail from the sender is taken, and puts the answer into `why`. */
static bool try_sender(struct doctor_talk *talk, const char *local, const char *domain)
{
    bool named =
        talk->as == DOCTOR_AS_USER && identity_way(talk->backend->identity)->auth_param;
    struct doctor_reply ignored;
    bool said = doctor_smtp_say(&talk->smtp, &talk->reply, "MAIL FROM:<%s%s>%s", local, domain,
                                named ? " AUTH=" LOGIN : "");
    if (said && talk->reply.code / 100 == 2)
        said = doctor_smtp_say(&talk->smtp, &talk->reply, "RCPT TO:<" ELSEWHERE ">");
    if (!said)
        return fail(talk, "%s", talk->smtp.why);
    (void)!doctor_smtp_say(&talk->smtp, &ignored, "RSET");
    fail(talk, "%s", talk->reply.text);
    return true;
}

/* A server that holds users to their own addresses takes none but theirs, or the empty one. */
static enum doctor_relayed try_user(struct doctor_talk *talk)
{
    static const char *const locals[] = {"postmaster@", LOGIN "@", ""};
    char first[DOCTOR_TALK_WHY_SIZE] = "";
    for (size_t i = 0; i < sizeof locals / sizeof locals[0]; i++) {
        bool said = try_sender(talk, locals[i], *locals[i] ? talk->hostname : "");
        enum doctor_relayed relayed = said ? judge(talk) : DOCTOR_UNDECIDED;
        if (relayed != DOCTOR_UNDECIDED)
            return relayed;
        if (i == 0)
            strcpy(first, talk->why);
        if (!said)
            break;
    }
    strcpy(talk->why, first);
    return DOCTOR_UNDECIDED;
}

enum doctor_relayed doctor_talk_try(struct doctor_talk *talk)
{
    if (talk->as == DOCTOR_AS_USER)
        return try_user(talk);
    return try_sender(talk, OUTSIDER, "") ? judge(talk) : DOCTOR_UNDECIDED;
}

const char *doctor_backend_name(const struct config_backend *backend)
{
    return *backend->program ? backend->program : backend->address_text;
}
