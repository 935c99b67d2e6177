/*
 * Socket addresses as text and back. The configuration parses with it, logs and PAM and XCLIENT
 * print with it. Never asks a name service: "localhost" is the only name it knows.
 */
#include "proxy/base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define UNIX_PREFIX "unix:"

static bool parse_local(const char *path, struct address *out, const char **why)
{
    size_t length = strlen(path);
    if (path[0] != '/') {
        *why = "the path behind \"unix:\" does not begin with a slash";
        return false;
    }
    if (length >= sizeof out->local.sun_path) {
        *why = "the path is too long for a unix socket";
        return false;
    }
    out->local.sun_family = AF_UNIX;
    memcpy(out->local.sun_path, path, length + 1);
    out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return true;
}

static bool parse_port(const char *text, in_port_t *port)
{
    unsigned number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (unsigned)(text[i] - '0');
    *port = htons((uint16_t)number);
    return number >= 1 && number <= 65535;
}

static bool set_v4(struct address *out, const char *host, in_port_t port)
{
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = port;
    out->length = sizeof out->v4;
    return inet_pton(AF_INET, host, &out->v4.sin_addr) == 1;
}

static bool set_v6(struct address *out, const char *host, in_port_t port)
{
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = port;
    out->length = sizeof out->v6;
    return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
}

/* Copies what stands before the port, without brackets. */
static const char *split_host(const char *text, size_t length, char host[static 64],
                              bool *bracketed)
{
    *bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    if (*bracketed) {
        text++;
        length -= 2;
    }
    if (length == 0)
        return "there is no host before the port";
    if (length >= 64)
        return "the host is too long for an address";
    if (!*bracketed && memchr(text, ':', length))
        return "an IPv6 address stands in brackets: [2001:db8::1]:25";
    memcpy(host, text, length);
    host[length] = '\0';
    return NULL;
}

static const char *set_host(struct address *out, const char *host, bool bracketed,
                            in_port_t port)
{
    if (bracketed)
        return set_v6(out, host, port) ? NULL : "not an IPv6 address in the brackets";
    if (strcmp(host, "*") == 0)
        return set_v6(out, "::", port) ? NULL : "not an address";
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    return set_v4(out, host, port) ? NULL
                                   : "the host is not an IP address (names are not looked up)";
}

static const char *parse_internet(const char *text, struct address *out)
{
    char host[64];
    bool bracketed = false;
    in_port_t port = 0;
    const char *colon = strrchr(text, ':');
    const char *bracket = strrchr(text, ']');

    if (!colon || (bracket && bracket > colon))
        return "there is no port: write host:port";
    if (!parse_port(colon + 1, &port))
        return "the port is not a number from 1 to 65535";
    const char *fault = split_host(text, (size_t)(colon - text), host, &bracketed);
    return fault ? fault : set_host(out, host, bracketed, port);
}

bool address_parse(const char *text, struct address *out, const char **why)
{
    memset(out, 0, sizeof *out);
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_local(text + strlen(UNIX_PREFIX), out, why);
    const char *fault = parse_internet(text, out);
    if (!fault)
        return true;
    memset(out, 0, sizeof *out);
    *why = fault;
    return false;
}

void address_normalise(struct address *address)
{
    if (address->length == 0 || address->any.sa_family != AF_INET6 ||
        !IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
        return;
    struct address plain = {.length = sizeof plain.v4};
    plain.v4.sin_family = AF_INET;
    plain.v4.sin_port = address->v6.sin6_port;
    memcpy(&plain.v4.sin_addr, &address->v6.sin6_addr.s6_addr[12], 4);
    *address = plain;
}

static bool take_name(int (*name)(int fd, struct sockaddr *out, socklen_t *length), int fd,
                      struct address *out)
{
    socklen_t length = sizeof *out - offsetof(struct address, any);
    memset(out, 0, sizeof *out);
    if (name(fd, &out->any, &length) < 0)
        return false;
    out->length = length;
    address_normalise(out);
    return true;
}

bool address_of_own_end(int fd, struct address *out)
{
    return take_name(getsockname, fd, out);
}

bool address_of_peer(int fd, struct address *out)
{
    return take_name(getpeername, fd, out);
}

static sa_family_t family(const struct address *address)
{
    return address->length > 0 ? address->any.sa_family : AF_UNSPEC;
}

void address_host(const struct address *address, char out[static ADDRESS_HOST_SIZE])
{
    switch (family(address)) {
    case AF_INET:
        inet_ntop(AF_INET, &address->v4.sin_addr, out, ADDRESS_HOST_SIZE);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->v6.sin6_addr, out, ADDRESS_HOST_SIZE);
        break;
    default:
        snprintf(out, ADDRESS_HOST_SIZE, "local");
    }
}

/* Bytes of the path; the kernel ends it with its length, not always with a NUL. */
static size_t path_length(const struct address *address)
{
    size_t before = offsetof(struct sockaddr_un, sun_path);
    return address->length > before ? strnlen(address->local.sun_path, address->length - before)
                                    : 0;
}

void address_text(const struct address *address, char out[static ADDRESS_TEXT_SIZE])
{
    char host[ADDRESS_HOST_SIZE];
    address_host(address, host);
    switch (family(address)) {
    case AF_INET:
        snprintf(out, ADDRESS_TEXT_SIZE, "%s:%u", host, address_port(address));
        break;
    case AF_INET6:
        snprintf(out, ADDRESS_TEXT_SIZE, "[%s]:%u", host, address_port(address));
        break;
    case AF_UNIX:
        snprintf(out, ADDRESS_TEXT_SIZE, UNIX_PREFIX "%.*s", (int)path_length(address),
                 address->local.sun_path);
        break;
    default:
        snprintf(out, ADDRESS_TEXT_SIZE, "none");
    }
}

uint16_t address_port(const struct address *address)
{
    switch (family(address)) {
    case AF_INET:
        return ntohs(address->v4.sin_port);
    case AF_INET6:
        return ntohs(address->v6.sin6_port);
    default:
        return 0;
    }
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (family(a) != family(b) || address_port(a) != address_port(b))
        return false;
    switch (family(a)) {
    case AF_INET:
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    case AF_INET6:
        return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr) &&
               a->v6.sin6_scope_id == b->v6.sin6_scope_id;
    case AF_UNIX:
        return path_length(a) == path_length(b) &&
               memcmp(a->local.sun_path, b->local.sun_path, path_length(a)) == 0;
    default:
        return true;
    }
}

bool address_is_loopback(const struct address *address)
{
    struct address plain = *address;
    address_normalise(&plain);
    if (family(&plain) == AF_INET)
        return ntohl(plain.v4.sin_addr.s_addr) >> 24 == 127;
    return family(&plain) == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&plain.v6.sin6_addr);
}

bool address_is_any(const struct address *address)
{
    struct address plain = *address;
    address_normalise(&plain);
    if (family(&plain) == AF_INET)
        return plain.v4.sin_addr.s_addr == htonl(INADDR_ANY);
    return family(&plain) == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&plain.v6.sin6_addr);
}

struct address_key address_key(const struct address *address)
{
    /* `low` is 0 for IPv6 only, so that no two kinds share a key. */
    const uint64_t v4 = UINT64_C(1) << 32, local = UINT64_C(2) << 32;
    struct address plain = *address;
    struct address_key key = {0, local};

    address_normalise(&plain);
    if (family(&plain) == AF_INET) {
        key.low = v4 | ntohl(plain.v4.sin_addr.s_addr);
    } else if (family(&plain) == AF_INET6) {
        key.low = 0;
        for (int i = 0; i < 8; i++)
            key.high = key.high << 8 | plain.v6.sin6_addr.s6_addr[i];
    }
    return key;
}

bool address_key_equal(const struct address_key *one, const struct address_key *other)
{
    return one->high == other->high && one->low == other->low;
}
