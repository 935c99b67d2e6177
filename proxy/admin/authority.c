/* The parser of a request's host. Called by server.c for each request; knows no name service.
 */
#include "proxy/admin/authority.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "proxy/base/address.h"

#define PORT_DIGITS 5

struct authority {
    const char *host, *port; /* port NULL: there is none */
    size_t host_length, port_length;
    bool bracketed;
};

/* Returns false if there is something between the host and the port. */
static bool split(const char *text, size_t length, struct authority *out)
{
    bool bracketed = length > 0 && text[0] == '[';
    const char *end = memchr(text, bracketed ? ']' : ':', length);
    size_t host = end ? (size_t)(end - text) : length, after = host + bracketed;
    if (bracketed && !end)
        return false;
    *out = (struct authority){
        .host = text + bracketed, .host_length = host - bracketed, .bracketed = bracketed};
    if (after == length)
        return true;
    out->port = text + after + 1;
    out->port_length = length - after - 1;
    return text[after] == ':';
}

static bool port_is_good(const struct authority *authority)
{
    unsigned number = 0;
    if (!authority->port)
        return true;
    for (size_t i = 0; i < authority->port_length && i < PORT_DIGITS; i++) {
        if (authority->port[i] < '0' || authority->port[i] > '9')
            return false;
        number = number * 10 + (unsigned)(authority->port[i] - '0');
    }
    return authority->port_length <= PORT_DIGITS && number >= 1 && number <= 65535;
}

static bool is_name(const struct authority *authority, const char *name)
{
    return !authority->bracketed && authority->host_length == strlen(name) &&
           strncasecmp(authority->host, name, authority->host_length) == 0;
}

/* Returns false if the host is no IP address. */
static bool read_address(const struct authority *authority, struct address *out)
{
    char host[ADDRESS_HOST_SIZE] = "";
    *out = (struct address){0};
    if (authority->host_length >= sizeof host ||
        memchr(authority->host, '\0', authority->host_length))
        return false;
    memcpy(host, authority->host, authority->host_length);
    if (authority->bracketed) {
        out->length = sizeof out->v6;
        out->v6.sin6_family = AF_INET6;
        return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
    }
    out->length = sizeof out->v4;
    out->v4.sin_family = AF_INET;
    return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1;
}

/* "mail.example.org", or its first label alone. */
static bool is_hostname(const struct authority *authority, const char *hostname)
{
    char label[64] = "";
    size_t length = strcspn(hostname, ".");
    if (length < sizeof label)
        memcpy(label, hostname, length);
    return *label && (is_name(authority, hostname) || is_name(authority, label));
}

bool admin_authority_is_own(const char *text, size_t length, bool has_name)
{
    struct authority authority;
    struct address address;
    if (length == 0 || !split(text, length, &authority) || !port_is_good(&authority))
        return false;
    if (has_name && !authority.port && is_name(&authority, ADMIN_AUTHORITY_NAME))
        return true;
    return is_name(&authority, "localhost") ||
           (read_address(&authority, &address) && address_is_loopback(&address));
}

bool admin_authority_is_direct(const char *text, size_t length, const char *hostname)
{
    struct authority authority;
    struct address address;
    return length > 0 && split(text, length, &authority) && port_is_good(&authority) &&
           (is_name(&authority, "localhost") || is_hostname(&authority, hostname) ||
            is_name(&authority, ADMIN_AUTHORITY_NAME) || read_address(&authority, &address));
}
