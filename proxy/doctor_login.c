/*
 * `postern doctor --login`: one login at each listener for people, as a mail program does it:
 * connection, TLS, AUTH, a sender and a recipient, which are taken back. Called by doctor.c.
 * Ends at the first listener that does not take the password, so that no user is locked out.
 */
#include "proxy/doctor_login.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/sasl.h"
#include "proxy/doctor_smtp.h"
#include "proxy/pam_modules.h"

#define RECIPIENT "postern-doctor@example.net"

/* "AUTH PLAIN " and what is said there, or a part of LOGIN. */
#define LINE_SIZE (3 * DOCTOR_LOGIN_NAME_SIZE + 2 * DOCTOR_LOGIN_PASSWORD_SIZE)

struct trial {
    struct doctor *doctor;
    const struct config_listen *listen;
    const struct doctor_login *login;
    SSL_CTX *context;
    struct doctor_smtp smtp;
    struct doctor_reply reply;
};

/* What a reply of Postern's or of the mail server's means, by its first words; see replies.c.
 */
static const struct {
    const char *reply, *advice;
} meanings[] = {
    {"535",
     "is the user name written as PAM knows it, and the password right? What PAM's modules "
     "said is in the system's log; the line event=\"login failed\" of Postern's log has "
     "the cause"},
    {"454 4.7.0 Auth", "PAM could not decide: the line event=\"login failed\" of Postern's log "
                       "has the cause, and the checks pam-service and pam-modules of \"postern "
                       "doctor\" look for it"},
    {"454 4.7.0 Too many failed", "wait, or take the count back: see \"failed_logins\" in "
                                  "section limits"},
    {"454 4.7.0 Too many logins", "all auth workers are busy: see \"workers\" in section auth"},
    {"454 4.7.0 The mail server",
     "the password is right, but the mail server took no identity: "
     "see the check backend-identity of \"postern doctor\""},
    {"454 4.4", "the password is right, but the mail server does not answer: see the check "
                "backend of \"postern doctor\""},
    {"454 4.3", "the password is right, but the mail server does not serve: see the check "
                "backend of \"postern doctor\""},
    {"504", "this listener offers other mechanisms: see \"mechanisms\" in sections auth and "
            "listen"},
    {"421 4.3.2 No new", "Postern refuses new connections: posternctl resume"},
    {"421 4.7.0 Too many", "this host's address is over a limit: see section limits, and "
                           "\"exempt\" there"},
    {"554 5.7.1 No connections", "this host's address is denied: posternctl revoke"},
};

static const char *meaning(const char *reply, const char *otherwise)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (strncmp(reply, meanings[i].reply, strlen(meanings[i].reply)) == 0)
            return meanings[i].advice;
    return otherwise;
}

/* Tells of a step that failed: by the reply, if there was one. */
static bool fail(struct trial *trial, const char *step, const char *otherwise)
{
    bool answered = !trial->smtp.why[0] && trial->reply.code > 0;
    doctor_fault(trial->doctor, "%s: %s: %s", trial->listen->name, step,
                 answered ? trial->reply.text : trial->smtp.why);
    doctor_advise(trial->doctor, "%s",
                  answered ? meaning(trial->reply.text, otherwise) : otherwise);
    return false;
}

/* Of this host itself. */
static bool announce(struct trial *trial)
{
    struct address own;
    char host[ADDRESS_HOST_SIZE], header[2 * ADDRESS_HOST_SIZE + 64];
    if (!doctor_listen_wants_header(trial->listen, trial->smtp.fd, &own))
        return true;
    address_host(&own, host);
    int size = snprintf(header, sizeof header, "PROXY %s %s %s 49152 587\r\n",
                        own.any.sa_family == AF_INET6 ? "TCP6" : "TCP4", host, host);
    return doctor_smtp_write(&trial->smtp, header, (size_t)size);
}

/* Goes on all the same, as a person can in a mail program. */
static void look_at_certificate(struct trial *trial)
{
    const char *hostname = trial->doctor->config->hostname;
    X509 *shown = SSL_get1_peer_certificate(trial->smtp.ssl);
    long verdict = SSL_get_verify_result(trial->smtp.ssl);
    const char *why = verdict == X509_V_OK ? NULL : X509_verify_cert_error_string(verdict);
    if (!why && shown && X509_check_host(shown, hostname, 0, 0, NULL) != 1)
        why = "it does not name the hostname";
    X509_free(shown);
    if (!why)
        return;
    doctor_report_add(&trial->doctor->report, DOCTOR_WARNING,
                      "%s: a mail program that connects to %s warns of the certificate: %s",
                      trial->listen->name, hostname, why);
    doctor_advise(trial->doctor, "see the checks certificate-name and certificate-chain of "
                                 "\"postern doctor\"");
}

static bool secure(struct trial *trial)
{
    if (!doctor_smtp_secure(&trial->smtp, trial->context, NULL))
        return fail(trial, "no TLS comes about",
                    "see section tls, and \"tls\" in section listen");
    look_at_certificate(trial);
    return true;
}

/* One command; the reply must begin with `wanted`. */
PRINTF_LIKE(5, 6)
static bool say(struct trial *trial, unsigned wanted, const char *step, const char *otherwise,
                const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    trial->reply.code = 0;
    return (doctor_smtp_say(&trial->smtp, &trial->reply, "%s", line) &&
            trial->reply.code == wanted) ||
           fail(trial, step, otherwise);
}

static bool hello(struct trial *trial)
{
    return say(trial, 250, "EHLO is refused", "is that Postern? See the check port",
               "EHLO postern-doctor.invalid");
}

static bool greet(struct trial *trial)
{
    bool implicit = trial->listen->tls == CONFIG_TLS_IMPLICIT;
    struct address target = doctor_listen_target(trial->listen);
    trial->reply.code = 0;
    if (!doctor_smtp_open(&trial->smtp, &target))
        return fail(trial, "there is no connection",
                    "start Postern (systemctl start postern); the log says why it ended");
    if (!announce(trial) || (implicit && !secure(trial)))
        return false;
    if (!doctor_smtp_read(&trial->smtp, &trial->reply) || trial->reply.code != 220)
        return fail(trial, "no good greeting", "is that Postern? See the check port");
    return hello(trial) && (implicit || (say(trial, 220, "STARTTLS is refused",
                                             "is that Postern? See the check "
                                             "port",
                                             "STARTTLS") &&
                                         secure(trial) && hello(trial)));
}

/* Appends bytes in Base64 (RFC 4648 section 4) and the end of the line; returns its length. */
static size_t write_base64(char line[static LINE_SIZE], size_t length, const char *bytes,
                           size_t count)
{
    int written = EVP_EncodeBlock((unsigned char *)line + length, (const unsigned char *)bytes,
                                  (int)count);
    length += (size_t)written;
    memcpy(line + length, "\r\n", 2);
    return length + 2;
}

static bool send_secret(struct trial *trial, const char *head, const char *bytes, size_t count)
{
    char line[LINE_SIZE];
    size_t length = strlen(head);
    memcpy(line, head, length);
    length = write_base64(line, length, bytes, count);
    trial->reply.code = 0;
    bool done = doctor_smtp_write(&trial->smtp, line, length) &&
                doctor_smtp_read(&trial->smtp, &trial->reply);
    explicit_bzero(line, sizeof line);
    return done;
}

/* RFC 4616: no authorization identity, NUL, name, NUL, password. */
static bool log_in_plain(struct trial *trial)
{
    const struct doctor_login *login = trial->login;
    char message[DOCTOR_LOGIN_NAME_SIZE + DOCTOR_LOGIN_PASSWORD_SIZE + 2];
    size_t name = strlen(login->user), password = strlen(login->password);
    message[0] = '\0';
    memcpy(message + 1, login->user, name + 1);
    memcpy(message + name + 2, login->password, password);
    bool done = send_secret(trial, "AUTH PLAIN ", message, name + password + 2);
    explicit_bzero(message, sizeof message);
    return done;
}

static bool log_in_login(struct trial *trial)
{
    const struct doctor_login *login = trial->login;
    return send_secret(trial, "AUTH LOGIN ", login->user, strlen(login->user)) &&
           (trial->reply.code != 334 ||
            send_secret(trial, "", login->password, strlen(login->password)));
}

static bool asks_for_accounts(const struct config_auth *auth)
{
    struct pam_modules *service = pam_modules_read(auth->pam_service, auth->pam_confdir);
    bool found = false;
    for (size_t i = 0; service && i < service->count && !found; i++) {
        const char *slash = strrchr(service->list[i].path, '/');
        found = strcmp(slash ? slash + 1 : service->list[i].path, "pam_unix.so") == 0;
    }
    free(service);
    return found;
}

/* A client must not learn who has an account: it is told to root alone. */
static bool fail_login(struct trial *trial)
{
    const struct config_auth *auth = &trial->doctor->config->auth;
    const char *user = trial->login->user;
    (void)fail(trial, "the login is refused", "Postern's log says why");
    if (trial->reply.code == 535 && geteuid() == 0 && !getpwnam(user) &&
        asks_for_accounts(auth))
        doctor_advise(trial->doctor,
                      "there is no account \"%s\" on this host, and pam_unix.so in the PAM "
                      "service \"%s\" knows accounts only: %s",
                      user, auth->pam_service,
                      strchr(user, '@')
                          ? "log in with the account's name, without @ and a domain"
                          : "make it (adduser), or log in as a user that exists "
                            "(getent passwd)");
    return false;
}

static bool log_in(struct trial *trial)
{
    uint32_t offered = trial->doctor->config->auth.mechanisms & trial->listen->mechanisms;
    bool plain = offered & (1u << SASL_PLAIN);
    bool done = plain ? log_in_plain(trial) : log_in_login(trial);
    return (done && trial->reply.code == 235) || fail_login(trial);
}

static bool send_to(struct trial *trial)
{
    static const char advice[] =
        "the login is good, and this is the mail server's own reply: its log says why. It must "
        "let those relay who have logged in, with this sender (--from names another one)";
    return say(trial, 250, "the sender is refused", advice, "MAIL FROM:<%s>",
               trial->login->from) &&
           say(trial, 250, "the recipient is refused", advice, "RCPT TO:<" RECIPIENT ">");
}

/* False: the password was not taken, and must not be tried again. */
static bool try_listener(struct trial *trial)
{
    bool begun = greet(trial);
    bool taken = begun && log_in(trial);
    if (taken && send_to(trial)) {
        doctor_good(trial->doctor,
                    "%s: %s logs in under TLS (%s), and may send from %s to elsewhere",
                    trial->listen->name, trial->login->user, SSL_get_version(trial->smtp.ssl),
                    trial->login->from);
        (void)!doctor_smtp_say(&trial->smtp, &trial->reply, "RSET");
    }
    if (taken)
        (void)!doctor_smtp_say(&trial->smtp, &trial->reply, "QUIT");
    doctor_smtp_close(&trial->smtp);
    return taken || !begun;
}

static bool is_for_passwords(const struct doctor *doctor, const struct config_listen *listen)
{
    uint32_t offered = doctor->config->auth.mechanisms & listen->mechanisms;
    return listen->role == CONFIG_ROLE_SUBMISSION &&
           listen->client_certificates != TLS_CLIENT_CERTIFICATES_REQUIRE &&
           offered & (1u << SASL_PLAIN | 1u << SASL_LOGIN);
}

void doctor_try_login(struct doctor *doctor, const struct doctor_login *login)
{
    struct trial trial = {
        .doctor = doctor, .login = login, .context = SSL_CTX_new(TLS_client_method())};
    bool any = false, go_on = trial.context;
    if (trial.context)
        (void)SSL_CTX_set_default_verify_paths(trial.context);
    for (size_t i = 0; go_on && i < doctor->config->listen_count; i++) {
        trial.listen = &doctor->config->listens[i];
        if (!is_for_passwords(doctor, trial.listen))
            continue;
        any = true;
        go_on = try_listener(&trial);
    }
    if (!any)
        doctor_skip(doctor, "there is no listener at which people log in with a password");
    SSL_CTX_free(trial.context);
}
