/*
 * What may stand in a value, beyond its kind: a function for each rule, named in the table of
 * options (config_table.c). Each is given a text, or a struct address, and returns its fault or
 * NULL. But for programs, nothing here looks at a file.
 */
#include "proxy/config_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/address.h"
#include "proxy/base/host_name.h"
#include "proxy/program_line.h"
#include "proxy/shared_place.h"
#include "proxy/smtp/command.h"

const char *config_check_not_empty(const void *value)
{
    return *(const char *)value ? NULL : "is empty";
}

/* What may stand in a greeting and in an EHLO line; empty is this host's name. */
const char *config_check_hostname(const void *value)
{
    const char *name = value;
    size_t length = strlen(name);
    bool literal = length > 2 && name[0] == '[' && name[length - 1] == ']';
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    if (length > SMTP_DOMAIN_LIMIT)
        return "is longer than 255 characters";
    if (literal && strspn(name + 1, "0123456789abcdefABCDEFIPv.:") == length - 2)
        return NULL;
    return strspn(name, letters) == length ? NULL
                                           : "is not a host name or an address in brackets";
}

/* OpenSSL takes one that begins with a dot for all names below it. */
const char *config_check_tls_name(const void *value)
{
    const char *name = value;
    struct in6_addr any;
    bool good = !*name || host_name_valid(name, strlen(name)) ||
                inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
    return good ? NULL : "is not the name of a host or an IP address";
}

/* PAM takes it as the name of a file in its directory. */
const char *config_check_pam_service(const void *value)
{
    const char *name = value;
    if (!*name)
        return "is empty";
    return strchr(name, '/') || name[0] == '.' ? "is not the name of a PAM service" : NULL;
}

const char *config_check_nameserver(const void *value)
{
    struct address address;
    struct in6_addr any;
    const char *why = NULL;
    if (inet_pton(AF_INET, value, &any) == 1 || inet_pton(AF_INET6, value, &any) == 1)
        return NULL;
    return address_parse(value, &address, &why) && address.any.sa_family != AF_UNIX
               ? NULL
               : "is not an IP address, with a port or without";
}

const char *config_check_external(const void *value)
{
    static const char *const words[] = {"", "cn", "email", "dns"};
    const char *text = value;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(text, words[i]) == 0)
            return NULL;
    return text[0] == '/' ? NULL : "is none of \"cn\", \"email\", \"dns\", and no file's path";
}

const char *config_check_listen_address(const void *value)
{
    const struct address *address = value;
    return address->any.sa_family == AF_UNIX ? "a listener has a TCP port" : NULL;
}

const char *config_check_backend_address(const void *value)
{
    const struct address *address = value;
    bool any =
        (address->any.sa_family == AF_INET && address->v4.sin_addr.s_addr == 0) ||
        (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr));
    return any ? "\"any address\" is for listeners: name the one that the backend listens on"
               : NULL;
}

/* Empty: there is none. As long as a socket's address has room, and ".new" behind it. */
const char *config_check_path(const void *value)
{
    return *(const char *)value == '/' ? NULL : "is not a path from the root";
}

const char *config_check_socket_path(const void *value)
{
    const char *path = value;
    if (*path && *path != '/')
        return "is not a path from the root";
    return strlen(path) <= 100 ? NULL : "is longer than 100 characters";
}

/* Empty: the backend has an address. */
const char *config_check_program(const void *value)
{
    static char why[PROGRAM_WHY_SIZE];
    struct program_line line;
    struct stat file;
    if (!*(const char *)value)
        return NULL;
    if (!program_line_parse(value, &line, why))
        return why;
    if (stat(program_line_path(&line), &file) < 0 || access(program_line_path(&line), X_OK) < 0)
        snprintf(why, sizeof why, "cannot be executed: %s", strerrordesc_np(errno));
    else if (!S_ISREG(file.st_mode))
        snprintf(why, sizeof why, "is not a program");
    else
        return NULL;
    return why;
}

/* Empty: this machine is alone. */
const char *config_check_shared(const void *value)
{
#ifdef HAVE_HIREDIS
    struct shared_place place;
    const char *fault = NULL;
    return !*(const char *)value || shared_place_parse(value, &place, &fault) ? NULL : fault;
#else
    return *(const char *)value ? "cannot be had: this program was built without hiredis"
                                : NULL;
#endif
}

const char *config_check_figures_address(const void *value)
{
    struct address address;
    const char *why = NULL;
    if (!*(const char *)value)
        return NULL;
    if (!address_parse(value, &address, &why))
        return why;
    return address.any.sa_family != AF_UNIX ? NULL
                                            : "is no TCP address, such as \"127.0.0.1:9125\"";
}
