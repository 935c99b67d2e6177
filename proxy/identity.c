/*
 * From a client's identity to what each way says of it. Used by backend.c when it opens a
 * session, by the relay for what every message carries, and by the configuration's checks.
 */
#include "proxy/identity.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    struct identity_way way;
} ways[] = {
    [CONFIG_IDENTITY_AUTO] =
        {"auto", {.carries_address = true, .carries_login = true, .xclient = true}},
    [CONFIG_IDENTITY_XCLIENT] =
        {"xclient", {.carries_address = true, .carries_login = true, .xclient = true}},
    [CONFIG_IDENTITY_PROXY_V1] = {"proxy-v1", {.carries_address = true, .proxy = 1}},
    /* the login is there, too, but no server is known that lets anybody relay for it */
    [CONFIG_IDENTITY_PROXY_V2] = {"proxy-v2", {.carries_address = true, .proxy = 2}},
    [CONFIG_IDENTITY_AUTH_PARAM] = {"auth-param", {.carries_login = true, .auth_param = true}},
    [CONFIG_IDENTITY_TRACE] = {"trace", {.trace = true}},
    [CONFIG_IDENTITY_PROGRAM] = {"program",
                                 {.transport = IDENTITY_PROGRAM,
                                  .carries_address = true,
                                  .carries_login = true}},
    [CONFIG_IDENTITY_TRANSPARENT] = {"transparent",
                                     {.transport = IDENTITY_TRANSPARENT,
                                      .carries_address = true}},
    [CONFIG_IDENTITY_NONE] = {"none", {0}},
};

const struct identity_way *identity_way(enum config_identity identity)
{
    return &ways[identity].way;
}

bool identity_tells_address(const struct config_backend *backend)
{
    const struct identity_way *way = identity_way(backend->identity);
    return way->carries_address &&
           (!way->xclient || (backend->required & (1u << SMTP_XCLIENT_ADDR)));
}

const char *identity_way_name(unsigned identity)
{
    return identity < sizeof ways / sizeof ways[0] ? ways[identity].name : NULL;
}

#define PORT_TEXT_SIZE    6
#define XCLIENT_HOST_SIZE (ADDRESS_HOST_SIZE + sizeof "IPV6:" - 1)

/* XCLIENT's form of an address: "IPV6:" before IPv6, nothing for a unix socket. */
static void xclient_address(const struct address *address, char out[static XCLIENT_HOST_SIZE],
                            char port[static PORT_TEXT_SIZE])
{
    out[0] = port[0] = '\0';
    if (address->any.sa_family == AF_UNIX || address->length == 0)
        return;
    char *host = out;
    if (address->any.sa_family == AF_INET6)
        host = stpcpy(out, "IPV6:");
    address_host(address, host);
    snprintf(port, PORT_TEXT_SIZE, "%u", (unsigned)address_port(address));
}

static void name_missing(uint32_t missing, char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < SMTP_XCLIENT_COUNT && length < size; i++)
        if (missing & (1u << i))
            length += (size_t)snprintf(out + length, size - length, " %s",
                                       smtp_xclient_name((enum smtp_xclient_attribute)i));
}

/* A client that has not logged in has no login to tell. */
static uint32_t required_of(const struct config_backend *config, bool login)
{
    return login ? config->required : config->required & ~(1u << SMTP_XCLIENT_LOGIN);
}

static uint32_t missing_of(const struct config_backend *config, const struct smtp_ehlo *ehlo,
                           bool login)
{
    return required_of(config, login) & ~ehlo->xclient;
}

bool identity_is_taken(const struct config_backend *config, const struct smtp_ehlo *ehlo,
                       bool login)
{
    return !identity_way(config->identity)->xclient ||
           (ehlo->xclient != 0 && missing_of(config, ehlo, login) == 0);
}

static bool format(const struct identity *identity, const struct smtp_ehlo *ehlo,
                   uint32_t required, struct smtp_xclient_commands *out)
{
    char client[XCLIENT_HOST_SIZE], local[XCLIENT_HOST_SIZE];
    char client_port[PORT_TEXT_SIZE], local_port[PORT_TEXT_SIZE];
    xclient_address(identity->client, client, client_port);
    xclient_address(identity->local, local, local_port);

    struct smtp_xclient_identity values = {{
        [SMTP_XCLIENT_ADDR] = client,
        [SMTP_XCLIENT_PORT] = client_port,
        [SMTP_XCLIENT_NAME] = identity->name,
        [SMTP_XCLIENT_DESTADDR] = local,
        [SMTP_XCLIENT_DESTPORT] = local_port,
        [SMTP_XCLIENT_PROTO] = identity->esmtp ? "ESMTP" : "SMTP",
        [SMTP_XCLIENT_HELO] = identity->helo,
        [SMTP_XCLIENT_LOGIN] = identity->login,
    }};
    return smtp_xclient_format(&values, ehlo->xclient, required, out);
}

bool identity_xclient(const struct identity *identity, const struct config_backend *config,
                      const struct smtp_ehlo *ehlo, struct smtp_xclient_commands *out,
                      char cause[static IDENTITY_CAUSE_SIZE])
{
    uint32_t required = required_of(config, identity->login);
    uint32_t missing = missing_of(config, ehlo, identity->login);
    char names[80];

    if (ehlo->xclient == 0) {
        strcpy(cause, "backend does not offer XCLIENT");
    } else if (missing) {
        name_missing(missing, names, sizeof names);
        snprintf(cause, IDENTITY_CAUSE_SIZE, "backend does not offer XCLIENT%s", names);
    } else if (!format(identity, ehlo, required, out)) {
        strcpy(cause, "the client's identity is too long to be told whole");
    } else {
        return true;
    }
    return false;
}

static struct proxy_header_endpoint endpoint_of(const struct address *address)
{
    struct proxy_header_endpoint out = {.port = address_port(address)};
    if (address->any.sa_family == AF_INET) {
        out.family = PROXY_HEADER_IPV4;
        memcpy(out.bytes, &address->v4.sin_addr, sizeof address->v4.sin_addr);
    } else if (address->any.sa_family == AF_INET6) {
        out.family = PROXY_HEADER_IPV6;
        memcpy(out.bytes, &address->v6.sin6_addr, sizeof address->v6.sin6_addr);
    }
    return out;
}

static uint8_t client_flags(const struct identity *identity)
{
    if (!identity->tls_version)
        return 0;
    return identity->peer ? PROXY_HEADER_CLIENT_SSL | PROXY_HEADER_CLIENT_CERT_CONN |
                                PROXY_HEADER_CLIENT_CERT_SESS
                          : PROXY_HEADER_CLIENT_SSL;
}

bool identity_preamble(const struct identity_way *way, const struct identity *identity,
                       char out[static IDENTITY_PREAMBLE_SIZE], size_t *length)
{
    enum proxy_header_version version = (enum proxy_header_version)way->proxy;
    *length = 0;
    if (way->proxy == 0)
        return true;
    if (!identity) {
        *length = proxy_header_write_local(version, out, IDENTITY_PREAMBLE_SIZE);
        return true;
    }
    struct proxy_header_identity header = {
        .source = endpoint_of(identity->client),
        .destination = endpoint_of(identity->local),
        .login = identity->login,
        .client = client_flags(identity),
        .verified = identity->peer,
        .certificate_name = identity->peer ? identity->peer->common_name : NULL,
        .authority = identity->server_name,
        .alpn = identity->alpn ? "smtp" : NULL,
        .tls_version = identity->tls_version,
        .tls_cipher = identity->tls_cipher,
        .unique_id = identity->id,
    };
    *length = proxy_header_write(version, &header, out, IDENTITY_PREAMBLE_SIZE);
    return *length > 0;
}
