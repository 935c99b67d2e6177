/*
 * The mail servers that Postern is tested with, as a table of the facts in etc/examples: how to
 * know one, what Postern's configuration says of it, and what goes into its own. Called by
 * setup.c. Asks with EHLO only.
 */
#include "proxy/setup_server.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/doctor_smtp.h"
#include "proxy/doctor_sockets.h"
#include "proxy/setup_postfix.h"

/* Where the package installs etc/examples, and what Postern's unit gets for a program there. */
#define EXAMPLES POSTERN_DOCDIR "/examples/"
#define DROP_IN(example, name)                                                                 \
    "    mkdir -p /etc/systemd/system/postern.service.d\n"                                     \
    "    cp " EXAMPLES example "/systemd.conf /etc/systemd/system/postern.service.d/" name     \
    ".conf\n"                                                                                  \
    "    systemctl daemon-reload\n"
#define APPARMOR(example)                                                                      \
    "\n"                                                                                       \
    "and where there is AppArmor:\n"                                                           \
    "\n"                                                                                       \
    "    cat " EXAMPLES example "/apparmor >>/etc/apparmor.d/local/postern\n"                  \
    "    apparmor_parser -r /etc/apparmor.d/postern\n"

/* Milliseconds for something on this host to greet. */
#define GREETING_TIME_MS 3000

/* Ports that mail servers are found at, behind what process names tell. */
static const uint16_t usual_ports[] = {25, 10025, 24, 26, 1025};

struct setup_server_kind {
    const char *name;
    const char *banner;     /* a word of its greeting */
    const char *process[3]; /* that listens, as ps -o comm has it */
    const char *installed[3];
    /* The port for Postern alone, or what finds a free one; both NULL: where it was found. */
    const char *own_address;
    void (*find_own)(char out[static ADDRESS_TEXT_SIZE]);
    const char *arguments; /* of a program in place of an address; NULL: it is a server */
    const char *users[2];  /* whom the program runs as: the first that there is */
    const char *settings;  /* further lines of section backend */
    /* What goes where in its own configuration: a text, or what writes it for that port. */
    const char *needs;
    void (*explain)(const char *own, bool speaks, FILE *out);
};

static const struct setup_server_kind kinds[] = {
    {.name = "Postfix",
     .banner = "Postfix",
     .process = {"master"},
     .installed = {"/etc/postfix/main.cf"},
     .find_own = setup_postfix_address,
     .settings = "",
     .explain = setup_postfix_explain},
    {.name = "Exim",
     .banner = "Exim",
     .process = {"exim4", "exim"},
     .installed = {"/usr/sbin/exim4", "/usr/sbin/exim"},
     .arguments = " -bs -oMa %{address}.%{port} -oMaa %{mechanism} -oMai %{login}",
     .users = {"Debian-exim", "exim"},
     .settings = "  identity = \"program\"\n",
     .needs =
         "Nothing, if its configuration is Debian's. In another one, the ACL of acl_smtp_rcpt\n"
         "needs \"accept authenticated = *\", and the user in section backend must be the one\n"
         "that Exim runs as. Postern's unit needs rights for Exim. As root:\n"
         "\n" DROP_IN("exim/program", "exim") APPARMOR("exim/program")},
    {.name = "Exim",
     .own_address = "127.0.0.1:10025",
     .settings =
         "  identity = \"proxy-v2\"\n"
         "\n"
         "  # The PROXY header tells the address; the login stands in a Received field.\n"
         "  trace = true\n",
     .needs =
         "A port for Postern alone, in an Exim that is built for it (Debian:\n"
         "exim4-daemon-heavy), then restart it:\n"
         "\n"
         "    local_interfaces = <; 127.0.0.1.25; 127.0.0.1.10025\n"
         "    hosts_proxy = ${if eq{$received_port}{10025}{127.0.0.1}}\n"
         "\n"
         "(the first replaces what Exim listens on now: where it takes mail from outside,\n"
         "0.0.0.0.25 and the like stay in the place of 127.0.0.1.25)\n"
         "\n"
         "and at the head of the ACL of acl_smtp_rcpt:\n"
         "\n"
         "    accept condition = ${if eq{$received_port}{10025}}\n"
         "\n"
         "Nobody but Postern may reach that port.\n"},
    {.name = "sendmail",
     .banner = "Sendmail",
     .process = {"sendmail-mta", "sendmail"},
     .installed = {"/etc/mail/sendmail.cf"},
     .settings =
         "\n"
         "  # Address and login stand in a Received field at the head of each message.\n"
         "  identity = \"trace\"\n",
     .needs =
         "Debian's has port 587 of 127.0.0.1, without which Postern cannot start. As root:\n"
         "\n"
         "    sed -i '/Port=submission/s/^DAEMON_OPTIONS/dnl &/' /etc/mail/sendmail.mc\n"
         "    make -C /etc/mail\n"
         "    systemctl restart sendmail\n"
         "\n"
         "Programs on this host still send, as /etc/mail/submit.mc names port 25. As sendmail\n"
         "relays for all of this host, nothing else here may take mail from outside and hand\n"
         "it to sendmail.\n"},
    {.name = "OpenSMTPD",
     .banner = "OpenSMTPD",
     .process = {"smtpd"},
     .installed = {"/etc/smtpd.conf"},
     .own_address = "127.0.0.1:10025",
     .settings =
         "  identity = \"proxy-v2\"\n"
         "\n"
         "  # The PROXY header tells the address; the login stands in a Received field.\n"
         "  trace = true\n",
     .needs = "A port for Postern alone, at the end of /etc/smtpd.conf; actions other than "
              "\"local\"\n"
              "and \"relay\" have to be written there by hand. As root:\n"
              "\n"
              "    cat " EXAMPLES "opensmtpd/debian.conf >>/etc/smtpd.conf\n"
              "    smtpd -n\n"
              "    systemctl restart opensmtpd\n"
              "\n"
              "Nobody but Postern may reach that port.\n"},
    {.name = "Courier",
     .banner = "Courier",
     .process = {"couriertcpd", "courieresmtpd"},
     .installed = {"/usr/sbin/courieresmtpd"},
     .arguments = "",
     .users = {"courier", "daemon"},
     .settings = "  identity = \"program\"\n"
                 "\n"
                 "  # Whoever has logged in may send to anywhere.\n"
                 "  relayclient = \"\"\n",
     .needs =
         "Ports 465 and 587 are Postern's now, and Postern's unit needs rights for Courier.\n"
         "As root:\n"
         "\n"
         "    systemctl disable --now courier-msa courier-mta-ssl\n" DROP_IN(
             "courier", "courier") APPARMOR("courier")},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static bool is_one_of(const char *const words[static 3], const char *word)
{
    for (size_t i = 0; i < 3 && words[i]; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

static const struct setup_server_kind *kind_of_process(const char *name)
{
    for (size_t i = 0; i < KINDS; i++)
        if (is_one_of(kinds[i].process, name))
            return &kinds[i];
    return NULL;
}

static const char *installed_path(const struct setup_server_kind *kind)
{
    for (size_t i = 0; i < 3 && kind->installed[i]; i++)
        if (access(kind->installed[i], F_OK) == 0)
            return kind->installed[i];
    return NULL;
}

/* A greeting can be anything that a postmaster likes; only Postfix offers XCLIENT. */
static const struct setup_server_kind *kind_of_greeting(const struct doctor_reply *greeting,
                                                        const struct doctor_reply *hello)
{
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].banner && strcasestr(greeting->text, kinds[i].banner))
            return &kinds[i];
    return hello->ehlo.xclient ? &kinds[0] : NULL;
}

/* The word after the code. */
static void name_of_greeting(const char *text, char out[static SETUP_HOSTNAME_SIZE])
{
    const char *name = strlen(text) > 4 ? text + 4 : "";
    snprintf(out, SETUP_HOSTNAME_SIZE, "%.*s", (int)strcspn(name, " "), name);
}

/* Does something there speak SMTP? Then what is it, and does it offer XCLIENT on a port other
 * than the one for strangers? */
static bool ask(const struct address *address, const struct setup_server_kind **kind,
                bool *ready, char greeted[static SETUP_HOSTNAME_SIZE])
{
    struct doctor_smtp smtp;
    struct doctor_reply greeting, hello;
    if (!doctor_smtp_open(&smtp, address))
        return false;
    smtp.deadline_ms = clock_now_ms() + GREETING_TIME_MS;
    bool speaks = doctor_smtp_read(&smtp, &greeting) && greeting.code == 220 &&
                  doctor_smtp_say(&smtp, &hello, "EHLO postern-setup.invalid");
    if (speaks) {
        *kind = kind_of_greeting(&greeting, &hello);
        name_of_greeting(greeting.text, greeted);
        *ready = hello.ehlo.xclient && address_port(address) != 25;
        (void)!doctor_smtp_say(&smtp, &hello, "QUIT");
    }
    doctor_smtp_close(&smtp);
    return speaks;
}

struct search {
    struct setup_server *server;
    unsigned rank; /* of the best so far; lower is better; 0: it is ready for Postern */
};

/* Ranks a port that this host reaches by loopback: port 25 first, known processes last. */
static unsigned rank_of(const struct doctor_socket *socket,
                        const struct setup_server_kind *owner)
{
    char host[ADDRESS_HOST_SIZE];
    uint16_t port = address_port(&socket->address);
    address_host(&socket->address, host);
    if (strncmp(host, "127.", 4) != 0 && strcmp(host, "0.0.0.0") != 0 &&
        strcmp(host, "::") != 0 && strcmp(host, "::1") != 0)
        return UINT16_MAX;
    for (unsigned i = 0; i < sizeof usual_ports / sizeof usual_ports[0]; i++)
        if (usual_ports[i] == port)
            return i;
    return owner ? 100 : UINT16_MAX;
}

static void by_loopback(const struct address *socket, struct address *out)
{
    char host[ADDRESS_HOST_SIZE], text[ADDRESS_TEXT_SIZE];
    const char *why;
    address_host(socket, host);
    bool any = strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
    snprintf(text, sizeof text, strchr(host, ':') && !any ? "[%s]:%u" : "%s:%u",
             any ? "127.0.0.1" : host, (unsigned)address_port(socket));
    if (!address_parse(text, out, &why))
        memset(out, 0, sizeof *out);
}

static bool consider(void *context, const struct doctor_socket *socket)
{
    struct search *search = context;
    const struct setup_server_kind *owner = NULL, *kind = NULL;
    struct doctor_process process;
    struct address address;
    char greeted[SETUP_HOSTNAME_SIZE];
    bool ready;
    if (doctor_sockets_owner(socket, &process)) {
        if (process.postern)
            return true;
        owner = kind_of_process(process.name);
    }
    unsigned rank = rank_of(socket, owner);
    by_loopback(&socket->address, &address);
    if (rank == UINT16_MAX || !ask(&address, &kind, &ready, greeted))
        return true;
    rank = ready ? 0 : rank + 1;
    if (rank >= search->rank)
        return true;
    search->rank = rank;
    search->server->answers = true;
    search->server->ready = ready;
    search->server->kind = kind ? kind : owner;
    strcpy(search->server->greeted, greeted);
    address_text(&address, search->server->address);
    return true;
}

static void look_for_installed(struct setup_server *server)
{
    for (size_t i = 0; i < KINDS && !server->kind; i++)
        if (installed_path(&kinds[i]))
            server->kind = &kinds[i];
}

/* Programs are of this host only. */
static bool is_local(const struct setup_server *server)
{
    return strncmp(server->address, "127.", 4) == 0 ||
           strncmp(server->address, "[::1]", 5) == 0 ||
           strncmp(server->address, "localhost:", 10) == 0;
}

/* A program that is not here cannot be started: the server's other way is taken, if it has one.
 */
static void settle(struct setup_server *server)
{
    const struct setup_server_kind *kind = server->kind;
    if (!kind || !kind->arguments || (is_local(server) && installed_path(kind)))
        return;
    const struct setup_server_kind *next = kind + 1;
    bool other = next < kinds + KINDS && strcmp(next->name, kind->name) == 0;
    server->kind = other ? next : NULL;
}

/* What is ready stays where it was found. */
static void take_own(struct setup_server *server)
{
    const struct setup_server_kind *kind = server->kind;
    if (kind && kind->find_own && server->ready)
        strcpy(server->own, server->address);
    else if (kind && kind->find_own)
        kind->find_own(server->own);
    else if (kind && kind->own_address)
        snprintf(server->own, sizeof server->own, "%s", kind->own_address);
}

const char *setup_server_address(const struct setup_server *server)
{
    return *server->own && !server->chosen ? server->own : server->address;
}

void setup_server_find(struct setup_server *server, const char *text)
{
    struct search search = {.server = server, .rank = UINT16_MAX};
    struct address address;
    const char *why;
    memset(server, 0, sizeof *server);
    snprintf(server->address, sizeof server->address, "%s", text ? text : "127.0.0.1:25");
    server->chosen = text != NULL;
    if (text) {
        if (address_parse(text, &address, &why))
            server->answers = ask(&address, &server->kind, &server->ready, server->greeted);
        if (!server->answers && setup_postfix_has_service(text))
            server->kind = &kinds[0];
    } else {
        (void)!doctor_sockets_each(consider, &search);
        if (!server->kind && !server->answers)
            look_for_installed(server);
    }
    settle(server);
    take_own(server);
}

const char *setup_server_greeted(const struct setup_server *server)
{
    return is_local(server) ? server->greeted : "";
}

const char *setup_server_name(const struct setup_server *server)
{
    return server->kind ? server->kind->name : NULL;
}

static void write_program(const struct setup_server_kind *kind, const char *path, FILE *out)
{
    const char *user =
        kind->users[getpwnam(kind->users[0]) || !getpwnam(kind->users[1]) ? 0 : 1];
    fprintf(out, "  program  = \"%s%s\"\n  user     = \"%s\"\n", path, kind->arguments, user);
}

void setup_server_write(const struct setup_server *server, FILE *out)
{
    const struct setup_server_kind *kind = server->kind;
    fputs("backend {\n", out);
    if (kind && kind->arguments)
        write_program(kind, installed_path(kind), out);
    else
        fprintf(out, "  address  = \"%s\"\n", setup_server_address(server));
    if (kind)
        fputs(kind->settings, out);
    fputs("}\n", out);
}

/* Does the service that Postern is to have speak SMTP? A server that was found has been asked.
 */
static bool own_speaks(const struct setup_server *server)
{
    const char *text = server->own;
    const struct setup_server_kind *kind;
    char greeted[SETUP_HOSTNAME_SIZE];
    struct address address;
    const char *why;
    bool ready;
    if (strcmp(text, server->address) == 0)
        return server->answers;
    return address_parse(text, &address, &why) && ask(&address, &kind, &ready, greeted);
}

static void explain_kind(const struct setup_server *server, FILE *out)
{
    const struct setup_server_kind *kind = server->kind;
    fprintf(out, "What %s needs\n\n", kind->name);
    if (!kind->explain) {
        fputs(kind->needs, out);
    } else if (server->ready) {
        fprintf(out,
                "Nothing: at %s it lets Postern say who its clients are.\n"
                "\"postern doctor\" tries whether it lets users relay.\n",
                server->address);
    } else {
        kind->explain(server->own, own_speaks(server), out);
        if (strcmp(setup_server_address(server), server->own) != 0)
            fprintf(out, "\nThen \"address\" in section backend is \"%s\" and not \"%s\".\n",
                    server->own, server->address);
    }
    fputc('\n', out);
}

void setup_server_explain(const struct setup_server *server, FILE *out)
{
    const struct setup_server_kind *kind = server->kind;
    if (kind)
        explain_kind(server, out);
    else
        fputs("What the mail server needs\n\n"
              "It must let Postern say who its clients are, by XCLIENT. If it cannot, choose\n"
              "another \"identity\" in section backend: postern.conf(5) has them, and the\n"
              "directory " EXAMPLES " the configurations of several\n"
              "servers.\n\n",
              out);
}
