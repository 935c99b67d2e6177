/*
 * The doctor's checks of listeners: is each port free for Postern or its own, and does what
 * serves there refuse to relay for somebody who has not logged in? Called through the table in
 * doctor.c. Never says DATA.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proxy/doctor_internal.h"
#include "proxy/doctor_port.h"
#include "proxy/doctor_smtp.h"

/* Nobody has the port: may we? */
static void check_free(struct doctor *doctor, const struct config_listen *listen)
{
    int on = 1;
    int fd = socket(listen->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && bind(fd, &listen->address.any, listen->address.length) == 0) {
        doctor_good(doctor, "%s: %s is free", listen->name, listen->address_text);
    } else if (errno == EACCES && !doctor->root) {
        doctor_good(doctor, "%s: %s is free, for root to take", listen->name,
                    listen->address_text);
    } else {
        doctor_fault(doctor, "%s: %s cannot be listened on: %s", listen->name,
                     listen->address_text, strerrordesc_np(errno));
        doctor_advise(doctor,
                      "change \"address\" in section listen to an address of this host");
    }
    if (fd >= 0)
        close(fd);
}

static void check_port(struct doctor *doctor, const struct config_listen *listen)
{
    const char *name = listen->name, *address = listen->address_text;
    struct doctor_port_owner owner;
    switch (doctor_port_find(&listen->address, &owner)) {
    case DOCTOR_PORT_FREE:
        check_free(doctor, listen);
        break;
    case DOCTOR_PORT_UNSEEN:
        doctor_skip(doctor,
                    "%s: %s is taken by a process of uid %u; only root can see by which", name,
                    address, (unsigned)owner.socket.uid);
        break;
    case DOCTOR_PORT_POSTERN:
        doctor_good(doctor, "%s: Postern listens on %s (process %d)", name, address,
                    (int)owner.process.pid);
        break;
    case DOCTOR_PORT_UNIT:
        doctor_good(doctor, "%s: %s holds %s for a socket unit", name, owner.process.name,
                    address);
        break;
    case DOCTOR_PORT_TAKEN:
        doctor_fault(doctor, "%s: %s is taken by %s (process %d)", name, address,
                     owner.process.name, (int)owner.process.pid);
        doctor_advise(doctor, "%s", doctor_port_advice(owner.process.name));
        break;
    }
}

void doctor_check_ports(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->listen_count; i++)
        check_port(doctor, &doctor->config->listens[i]);
}

/* Does Postern listen there, as far as this process may see? */
static bool is_served(const struct config_listen *listen)
{
    struct doctor_port_owner owner;
    enum doctor_port port = doctor_port_find(&listen->address, &owner);
    return port != DOCTOR_PORT_FREE && port != DOCTOR_PORT_TAKEN;
}

/* Where to connect to: of all addresses this host's own. */
struct address doctor_listen_target(const struct config_listen *listen)
{
    struct address target = listen->address;
    if (target.any.sa_family == AF_INET && target.v4.sin_addr.s_addr == INADDR_ANY)
        target.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (target.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&target.v6.sin6_addr)) {
        target = (struct address){.length = sizeof target.v4};
        target.v4.sin_family = AF_INET;
        target.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        target.v4.sin_port = listen->address.v6.sin6_port;
    }
    return target;
}

/* One attempt at one listener. */
struct probe {
    const struct config_listen *listen;
    SSL_CTX *context;
    struct doctor_smtp smtp;
    struct doctor_reply reply;
    bool announced;  /* as a stranger, by a PROXY header */
    bool taken;      /* a recipient elsewhere was accepted */
    const char *how; /* it was asked then */
};

bool doctor_listen_wants_header(const struct config_listen *listen, int fd, struct address *own)
{
    return address_of_own_end(fd, own) &&
           networks_contain(listen->proxy_protocol.network, listen->proxy_protocol.count, own);
}

/* Of a stranger. */
static bool announce(struct probe *probe)
{
    static const char header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 49152 587\r\n";
    struct address own;
    probe->announced = doctor_listen_wants_header(probe->listen, probe->smtp.fd, &own);
    return !probe->announced || doctor_smtp_write(&probe->smtp, header, sizeof header - 1);
}

static bool say(struct probe *probe, const char *command)
{
    return doctor_smtp_say(&probe->smtp, &probe->reply, "%s", command);
}

/* Ways of asking for a relay that one server or another has fallen for. */
static const char *const recipients[] = {
    "RCPT TO:<postern-doctor@example.net>",
    "RCPT TO:<postern-doctor%example.net@localhost>",
    "RCPT TO:<@localhost:postern-doctor@example.net>",
    "RCPT TO:<example.net!postern-doctor>",
    "RCPT TO:<\"postern-doctor@example.net\">",
};

/* False: the connection is over, as it may be. */
static bool ask(struct probe *probe)
{
    if (!say(probe, "MAIL FROM:<postern-doctor@example.com>"))
        return false;
    for (size_t i = 0; i < sizeof recipients / sizeof recipients[0]; i++) {
        if (!say(probe, recipients[i]))
            return false;
        if (probe->reply.code / 100 != 2)
            continue;
        probe->taken = true;
        probe->how = recipients[i];
        return false;
    }
    return say(probe, "RSET");
}

static bool hello(struct probe *probe)
{
    return say(probe, "EHLO postern-doctor.invalid") && probe->reply.code == 250;
}

static bool start_tls(struct probe *probe)
{
    return say(probe, "STARTTLS") && probe->reply.code == 220 &&
           doctor_smtp_secure(&probe->smtp, probe->context, NULL) && hello(probe);
}

static bool greet(struct probe *probe, bool tls)
{
    bool implicit = probe->listen->tls == CONFIG_TLS_IMPLICIT;
    return announce(probe) &&
           (!implicit || doctor_smtp_secure(&probe->smtp, probe->context, NULL)) &&
           doctor_smtp_read(&probe->smtp, &probe->reply) && probe->reply.code == 220 &&
           hello(probe) && (!tls || implicit || start_tls(probe));
}

/* Up to where it can be asked something; false: there is nothing to be closed. */
static bool begin(struct probe *probe, bool tls)
{
    struct address target = doctor_listen_target(probe->listen);
    probe->announced = false;
    if (!doctor_smtp_open(&probe->smtp, &target))
        return false;
    if (greet(probe, tls))
        return true;
    doctor_smtp_close(&probe->smtp);
    return false;
}

static bool probe_once(struct probe *probe, bool tls)
{
    if (!begin(probe, tls))
        return false;
    if (ask(probe))
        (void)!say(probe, "QUIT");
    doctor_smtp_close(&probe->smtp);
    return true;
}

static void tell_served(struct doctor *doctor, struct probe *probe)
{
    const char *name = probe->listen->name;
    X509 *shown = SSL_get1_peer_certificate(probe->smtp.ssl);
    if (shown && doctor_has_certificate(doctor, shown)) {
        doctor_good(doctor, "%s: shows the certificate that is in the file", name);
    } else if (!doctor_reads_certificates(doctor)) {
        doctor_skip(doctor, "%s: its certificate cannot be compared: not every file has one",
                    name);
    } else {
        doctor_fault(doctor, "%s: shows a certificate other than the one in the file", name);
        doctor_advise(doctor, "reload Postern: systemctl reload postern, after each renewal "
                              "(certbot: by a deploy hook)");
    }
    X509_free(shown);
}

/* What could not be asked, the check of relaying tells. */
void doctor_check_served(struct doctor *doctor)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    for (size_t i = 0; context && i < doctor->config->listen_count; i++) {
        struct probe probe = {.listen = &doctor->config->listens[i], .context = context};
        if (!is_served(probe.listen) || !begin(&probe, true))
            continue;
        tell_served(doctor, &probe);
        (void)!say(&probe, "QUIT");
        doctor_smtp_close(&probe.smtp);
    }
    SSL_CTX_free(context);
}

static void tell(struct doctor *doctor, const struct probe *probe, bool asked)
{
    const struct config_listen *listen = probe->listen;
    bool local = listen->role == CONFIG_ROLE_MX && !listen->recipients && !probe->announced;
    if (probe->taken && local) {
        doctor_note(doctor,
                    "%s: its backend relays for this host; backend-open-relay checks "
                    "whether it relays for strangers",
                    listen->name);
    } else if (probe->taken) {
        doctor_fault(doctor, "%s: an open relay: without a login it took %s", listen->name,
                     probe->how);
        doctor_advise(doctor, "stop it now; then see \"role\" and \"recipients\" in section "
                              "listen, and the checks of the backend");
    } else if (asked) {
        doctor_good(doctor, "%s: does not relay without a login", listen->name);
    } else {
        doctor_skip(doctor, "%s: could not be checked: %s", listen->name,
                    probe->smtp.why[0] ? probe->smtp.why : probe->reply.text);
    }
}

/* Under TLS, and in plaintext where a connection begins so. */
static void check_relay(struct doctor *doctor, const struct config_listen *listen,
                        SSL_CTX *context)
{
    struct probe probe = {.listen = listen, .context = context};
    bool asked = probe_once(&probe, true);
    if (asked && !probe.taken && listen->tls != CONFIG_TLS_IMPLICIT)
        asked = probe_once(&probe, false);
    tell(doctor, &probe, asked);
}

void doctor_check_listeners(struct doctor *doctor)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    for (size_t i = 0; context && i < doctor->config->listen_count; i++) {
        const struct config_listen *listen = &doctor->config->listens[i];
        if (is_served(listen))
            check_relay(doctor, listen, context);
        else
            doctor_skip(doctor, "%s: Postern does not listen there yet", listen->name);
    }
    SSL_CTX_free(context);
}
