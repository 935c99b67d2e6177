/*
 * What no single key of a configuration can be blamed for, and what is known only when all of
 * it has been read: config.c calls it after the last line of a file without faults.
 */
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/sasl.h"
#include "proxy/config_internal.h"
#include "proxy/fingerprints.h"
#include "proxy/identity.h"
#include "proxy/program_line.h"
#include "proxy/recipients.h"

/* Would a connection to the backend come back to this listener? */
static bool is_loop(const struct config_listen *listen, const struct address *backend)
{
    char host[ADDRESS_HOST_SIZE];
    struct address listener = listen->address, target = *backend;
    address_normalise(&target);
    address_normalise(&listener);
    if (address_equal(&listener, &target))
        return true;
    address_host(&listener, host);
    bool any = strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
    address_host(&target, host);
    bool local = strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0;
    return any && local && address_port(&listener) == address_port(&target);
}

/* A backend that is not in the file is the default one, and the listener is to blame. */
static void tell_loop(const struct config *config, const struct config_backend *backend,
                      const struct config_listen *listen)
{
    if (backend->line > 0)
        config_fault(config, "backend", backend->name, "address",
                     "\"%.200s\" leads back to listen \"%.100s\"", backend->address_text,
                     listen->name);
    else
        config_fault(config, "listen", listen->name, "address",
                     "\"%.200s\" is where the backend is looked for, as there is no section "
                     "\"backend\": mail would go round",
                     listen->address_text);
}

static void check_loops(const struct config *config, const struct config_listen *listen)
{
    for (size_t i = 0; i < config->backend_count; i++)
        if (!*config->backends[i].program && is_loop(listen, &config->backends[i].address))
            tell_loop(config, &config->backends[i], listen);
}

/* The index of a backend of that name; config->backend_count: there is none. */
static size_t find_backend(const struct config *config, const char *name)
{
    size_t index = 0;
    while (index < config->backend_count && strcmp(config->backends[index].name, name) != 0)
        index++;
    return index;
}

static bool resolve_backend(const struct config *config, const struct config_listen *listen,
                            size_t place)
{
    const char *name = listen->backend_names.text[place];
    size_t index = find_backend(config, name);
    listen->backends[place] = (unsigned)index;
    for (size_t i = 0; i < place; i++)
        if (listen->backends[i] == index && index < config->backend_count) {
            config_fault(config, "listen", listen->name, "backend", "names \"%.100s\" twice",
                         name);
            return false;
        }
    if (index < config->backend_count)
        return true;
    config_fault(config, "listen", listen->name, "backend", "there is no backend \"%.100s\"",
                 name);
    return false;
}

/* Names become indices; without a name it is the first. False: a fault was told. */
static bool resolve_backends(const struct config *config, struct config_listen *listen)
{
    size_t count = listen->backend_names.count;
    bool good = count <= CONFIG_LISTEN_BACKENDS;
    if (!good)
        config_fault(config, "listen", listen->name, "backend", "names more than %u backends",
                     CONFIG_LISTEN_BACKENDS);
    listen->backends = calloc(count > 0 ? count : 1, sizeof *listen->backends);
    if (!listen->backends) {
        config_fault(config, "listen", listen->name, "backend", "out of memory");
        return false;
    }
    listen->backend_count = count > 0 ? count : 1;
    for (size_t i = 0; i < count; i++)
        good &= resolve_backend(config, listen, i);
    return good;
}

/* Finds the whole name of a short host name in /etc/hosts; asks no name server. */
static char *whole_name(const char *host)
{
    char *found = NULL;
    const struct hostent *entry;
    sethostent(0);
    while (!found && (entry = gethostent())) {
        bool known = strcmp(entry->h_name, host) == 0;
        for (char **alias = entry->h_aliases; *alias && !known; alias++)
            known = strcmp(*alias, host) == 0;
        if (known && strchr(entry->h_name, '.'))
            found = strdup(entry->h_name);
    }
    endhostent();
    return found ? found : strdup(host);
}

static void default_hostname(struct config *config)
{
    char host[256] = "";
    char why[CONFIG_WHY_SIZE];
    const struct config_row *row = config_row_find("", "hostname");
    if (config->hostname[0] != '\0')
        return;
    gethostname(host, sizeof host - 1);
    char *name = strchr(host, '.') ? strdup(host) : whole_name(host);
    if (!name || !*name || !config_value_take(row, config, name, why))
        config_fault(config, "", NULL, "hostname",
                     "must be given: this host's own name, \"%.100s\", is of no use", host);
    free(name);
}

/* Only a load balancer announces clients: without one, proxy_exempt would do nothing. */
static void check_announced(const struct config *config, const struct config_listen *listen)
{
    if (listen->proxy_exempt.count > 0 && listen->proxy_protocol.count == 0)
        config_fault(config, "listen", listen->name, "proxy_exempt",
                     "is of no use where proxy_protocol names no load balancer");
}

size_t config_most_beside(const struct config *config, size_t index)
{
    size_t most = 0;
    for (size_t i = 0; i < config->listen_count; i++)
        for (size_t j = 0; j < config->listens[i].backend_count; j++)
            if (config->listens[i].backends[j] == index &&
                config->listens[i].backend_count > most)
                most = config->listens[i].backend_count;
    return most;
}

static void read_recipients(const struct config *config, struct config_listen *listen)
{
    char why[RECIPIENTS_ERROR_SIZE];
    if (listen->recipient_words.count == 0)
        return;
    if (listen->role != CONFIG_ROLE_MX)
        config_fault(config, "listen", listen->name, "recipients",
                     "is for listeners with role = \"mx\"");
    listen->recipients = recipients_new();
    if (!listen->recipients)
        config_fault(config, "listen", listen->name, "recipients", "out of memory");
    for (size_t i = 0; listen->recipients && i < listen->recipient_words.count; i++)
        if (!recipients_add(listen->recipients, listen->recipient_words.text[i], why))
            config_fault(config, "listen", listen->name, "recipients", "%s", why);
    if (listen->recipients)
        (void)recipients_count(listen->recipients);
}

/* Who may log in by a certificate, and who says which certificates are good. */
static void check_client_certificates(const struct config *config, struct config_listen *listen)
{
    char why[FINGERPRINTS_ERROR_SIZE];
    bool asks = listen->client_certificates != TLS_CLIENT_CERTIFICATES_OFF;
    if (asks && !*listen->client_ca)
        config_fault(config, "listen", listen->name, "client_ca",
                     "must be given where client certificates are asked for");
    const struct {
        const char *key, *value;
    } unasked[] = {{"client_ca", listen->client_ca},
                   {"client_crl", listen->client_crl},
                   {"external", listen->external}};
    for (size_t i = 0; !asks && i < sizeof unasked / sizeof unasked[0]; i++)
        if (*unasked[i].value)
            config_fault(config, "listen", listen->name, unasked[i].key,
                         "is of no use where client certificates are not asked for");
    if (listen->external[0] != '/')
        return;
    listen->fingerprints = fingerprints_read(listen->external, why);
    if (!listen->fingerprints)
        config_fault(config, "listen", listen->name, "external", "%s", why);
}

static void check_mechanisms(const struct config *config, const struct config_listen *listen)
{
    uint32_t offered = config->auth.mechanisms & listen->mechanisms;
    if (*listen->external && !(offered & (1u << SASL_EXTERNAL)))
        config_fault(config, "listen", listen->name, "external",
                     "is of no use where EXTERNAL is not among the mechanisms");
    if (!*listen->external)
        offered &= ~(1u << SASL_EXTERNAL);
    if (listen->role == CONFIG_ROLE_SUBMISSION && offered == 0)
        config_fault(config, "listen", listen->name, "mechanisms",
                     "none is left with which anybody could log in");
}

const struct config_listen *config_submission_of(const struct config *config, size_t index)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listens[i];
        for (size_t j = 0; j < listen->backend_count; j++)
            if (listen->role == CONFIG_ROLE_SUBMISSION && listen->backends[j] == index)
                return listen;
    }
    return NULL;
}

/* A backend that does not go by the login relays for whatever comes from Postern, or for
 * nobody. */
static void check_inbound_backend(const struct config *config,
                                  const struct config_listen *listen, unsigned index)
{
    const struct config_backend *backend = &config->backends[index];
    const char *way = identity_way_name(backend->identity);
    const struct config_listen *people = config_submission_of(config, index);
    if (!identity_tells_address(backend))
        config_fault(
            config, "listen", listen->name, "role",
            "mx would be an open relay: backend \"%s\" does not hear the client's "
            "address (identity = \"%s\"%s), and \"recipients\" is not given",
            backend->name, way,
            identity_way(backend->identity)->xclient ? ", identity_required without ADDR" : "");
    else if (people && !identity_way(backend->identity)->carries_login)
        config_fault(config, "listen", listen->name, "role",
                     "mx would be an open relay: backend \"%s\" cannot tell it from listen "
                     "\"%s\", where "
                     "users log in (identity = \"%s\"), and \"recipients\" is not given",
                     backend->name, people->name, way);
}

/* When every listener knows its backends. */
static void check_inbound(const struct config *config)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listens[i];
        if (listen->role != CONFIG_ROLE_MX || listen->recipients)
            continue;
        for (size_t j = 0; j < listen->backend_count; j++)
            if (listen->backends[j] < config->backend_count)
                check_inbound_backend(config, listen, listen->backends[j]);
    }
}

/* A program is its own way of telling who a client is, and the other way round. */
static void check_program(const struct config *config, struct config_backend *backend)
{
    if (*backend->program && backend->identity == CONFIG_IDENTITY_AUTO)
        backend->identity = CONFIG_IDENTITY_PROGRAM;
    if (*backend->program && backend->identity != CONFIG_IDENTITY_PROGRAM)
        config_fault(config, "backend", backend->name, "identity",
                     "\"%s\" is not for a program", identity_way_name(backend->identity));
    if (!*backend->program && backend->identity == CONFIG_IDENTITY_PROGRAM)
        config_fault(config, "backend", backend->name, "program",
                     "must be given for identity = \"program\"");
    if (*backend->program && backend->tls != CONFIG_BACKEND_TLS_OFF)
        config_fault(config, "backend", backend->name, "tls", "is not for a program");
    if (!*backend->program && *backend->user)
        config_fault(config, "backend", backend->name, "user",
                     "is of no use without a program");
    if (backend->identity == CONFIG_IDENTITY_TRANSPARENT &&
        backend->address.any.sa_family == AF_UNIX)
        config_fault(config, "backend", backend->name, "address",
                     "\"%.200s\" cannot be reached from a client's address",
                     backend->address_text);
}

/* Whoever wrote that a certificate is looked at believes that there is one. */
static void check_backend_tls(const struct config *config, const struct config_backend *backend)
{
    bool encrypted = backend->tls != CONFIG_BACKEND_TLS_OFF;
    bool local = backend->address.any.sa_family == AF_UNIX;
    if (!encrypted && *backend->ca)
        config_fault(config, "backend", backend->name, "ca",
                     "is of no use where tls = \"off\"");
    if (!encrypted && *backend->tls_name)
        config_fault(config, "backend", backend->name, "tls_name",
                     "is of no use where tls = \"off\"");
    if (!encrypted && backend->tls_common_name)
        config_fault(config, "backend", backend->name, "tls_common_name",
                     "is of no use where tls = \"off\"");
    if (encrypted && local && !*backend->tls_name)
        config_fault(config, "backend", backend->name, "tls_name",
                     "must be given: a unix socket is no name for a certificate");
    if (backend->hide_login && !backend->trace && !identity_way(backend->identity)->trace)
        config_fault(config, "backend", backend->name, "hide_login",
                     "is of no use without a trace");
}

/* Who sends mail from elsewhere has not logged in: a program that asks for the login would be
 * told nothing, and refuse everybody. */
static void check_inbound_program(const struct config *config,
                                  const struct config_listen *listen)
{
    static const enum program_value logins[] = {PROGRAM_LOGIN, PROGRAM_MECHANISM};
    char why[PROGRAM_WHY_SIZE];
    struct program_line line;
    for (size_t i = 0; i < listen->backend_count; i++) {
        const struct config_backend *backend = &config->backends[listen->backends[i]];
        if (!*backend->program || !program_line_parse(backend->program, &line, why))
            continue;
        for (size_t j = 0; j < sizeof logins / sizeof logins[0]; j++)
            if (program_line_uses(&line, logins[j]))
                config_fault(config, "listen", listen->name, "role",
                             "nobody logs in at an mx, but the program of backend \"%s\" asks "
                             "for %%{%s}",
                             backend->name, program_value_name(logins[j]));
    }
}

/* Figures are for this host, unless the postmaster says which others may read them. */
static void check_figures(const struct config *config)
{
    const struct config_admin *admin = &config->admin;
    struct address address;
    const char *why;
    if (!*admin->metrics && admin->allow.count > 0)
        config_fault(config, "admin", NULL, "allow",
                     "is of no use without an address \"metrics\"");
    if (*admin->metrics && admin->allow.count == 0 &&
        address_parse(admin->metrics, &address, &why) && !address_is_loopback(&address))
        config_fault(config, "admin", NULL, "metrics",
                     "\"%.200s\" is not an address of this host alone, such as "
                     "\"127.0.0.1:9125\": say who may read there, as in "
                     "allow = {\"192.0.2.0/24\"}",
                     admin->metrics);
}

void config_check(struct config *config)
{
    if (config->auth.share > config->auth.workers)
        config_fault(config, "auth", NULL, "share", "%u is more than the %u workers",
                     config->auth.share, config->auth.workers);
    for (size_t i = 0; i < config->backend_count; i++) {
        check_program(config, &config->backends[i]);
        check_backend_tls(config, &config->backends[i]);
    }
    for (size_t i = 0; i < config->listen_count; i++) {
        struct config_listen *listen = &config->listens[i];
        check_loops(config, listen);
        check_announced(config, listen);
        read_recipients(config, listen);
        check_client_certificates(config, listen);
        check_mechanisms(config, listen);
        if (resolve_backends(config, listen) && listen->role == CONFIG_ROLE_MX)
            check_inbound_program(config, listen);
    }
    check_inbound(config);
    check_figures(config);
    default_hostname(config);
}
