/* Called by the opener before it forks, so that a program's first steps need no memory. */
#include "proxy/opener_environment.h"

#include <stdio.h>
#include <string.h>

#include "proxy/identity.h"

static void set_address(const struct address *address, char host[static ADDRESS_HOST_SIZE],
                        char port[static 6])
{
    struct address plain = *address;
    host[0] = port[0] = '\0';
    if (plain.length == 0)
        return;
    address_normalise(&plain);
    address_host(&plain, host);
    snprintf(port, 6, "%u", (unsigned)address_port(&plain));
}

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

void opener_values_set(struct opener_values *out, const struct opener_order *order)
{
    memset(out, 0, sizeof *out);
    set_address(&order->client, out->address, out->port);
    set_address(&order->local, out->local_address, out->local_port);
    bool authenticated =
        order->login[0] && !order->probe && strcmp(order->mechanism, IDENTITY_PERMITTED) != 0;
    snprintf(out->protocol, sizeof out->protocol, "%s%s%s", order->esmtp ? "esmtp" : "smtp",
             order->esmtp && order->tls[0] ? "s" : "",
             order->esmtp && authenticated ? "a" : "");
    out->value[PROGRAM_ADDRESS] = or_null(out->address);
    out->value[PROGRAM_PORT] = or_null(out->port);
    out->value[PROGRAM_HOST] = or_null(order->host[0] ? order->host : out->address);
    out->value[PROGRAM_LOGIN] = or_null(order->login);
    out->value[PROGRAM_MECHANISM] = or_null(order->mechanism);
    out->value[PROGRAM_HELO] = or_null(order->helo);
    out->value[PROGRAM_LOCAL_ADDRESS] = or_null(out->local_address);
    out->value[PROGRAM_LOCAL_PORT] = or_null(out->local_port);
    out->value[PROGRAM_PROTOCOL] = out->protocol;
}

bool opener_environment_set(struct opener_environment *out, const struct opener_values *values,
                            const struct opener_order *order,
                            const struct opener_backend *backend, const char *hostname)
{
    const struct {
        const char *name, *value; /* NULL: not set */
    } variables[] = {
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"PROTO", "TCP"},
        {"TCPREMOTEIP", values->value[PROGRAM_ADDRESS]},
        {"TCPREMOTEPORT", values->value[PROGRAM_PORT]},
        {"TCPREMOTEHOST", or_null(order->host)},
        {"TCPREMOTEINFO", values->value[PROGRAM_LOGIN]},
        {"TCPLOCALIP", values->value[PROGRAM_LOCAL_ADDRESS]},
        {"TCPLOCALPORT", values->value[PROGRAM_LOCAL_PORT]},
        {"TCPLOCALHOST", hostname},
        {"ESMTP_TLS", order->tls[0] ? "1" : NULL},
        {"TLS_CONNECTED_PROTOCOL", order->tls[0] ? order->tls : NULL},
        {"RELAYCLIENT", order->login[0] && !order->probe ? backend->relayclient : NULL},
    };
    _Static_assert(sizeof variables / sizeof variables[0] <= OPENER_VARIABLE_LIMIT,
                   "every variable has its place");
    size_t used = 0, count = 0;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        if (!variables[i].value)
            continue;
        int length = snprintf(out->text + used, sizeof out->text - used, "%s=%s",
                              variables[i].name, variables[i].value);
        if (length < 0 || (size_t)length >= sizeof out->text - used)
            return false;
        out->variables[count++] = out->text + used;
        used += (size_t)length + 1;
    }
    out->variables[count] = NULL;
    return true;
}
