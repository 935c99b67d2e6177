/*
 * Compares addresses as bind(2) does: one that is all addresses of a port is beside no other of
 * that port, and [::] is all of IPv4, too. Looks into the kernel's table of sockets.
 */
#include "proxy/overlap.h"

#include <string.h>

#include "proxy/doctor_sockets.h"

static bool takes(const struct address *any, const struct address *other)
{
    bool same_family = any->any.sa_family == other->any.sa_family;
    return address_is_any(any) && address_port(any) == address_port(other) &&
           (same_family || any->any.sa_family == AF_INET6);
}

static bool overlap(const struct address *a, const struct address *b)
{
    bool files = a->any.sa_family == AF_UNIX || b->any.sa_family == AF_UNIX;
    return !files && (takes(a, b) || takes(b, a));
}

struct search {
    const struct address *address;
    bool found;
};

static bool compare(void *context, const struct doctor_socket *socket)
{
    struct search *search = context;
    search->found = address_equal(search->address, &socket->address);
    return !search->found;
}

static bool is_listened_on(const struct address *address)
{
    struct search search = {address, false};
    return doctor_sockets_each(compare, &search) && search.found;
}

const struct config_listen *overlap_find(const struct config *config, size_t index)
{
    const struct address *address = &config->listens[index].address;
    for (size_t i = 0; i < index; i++)
        if (overlap(address, &config->listens[i].address) &&
            !(is_listened_on(address) && is_listened_on(&config->listens[i].address)))
            return &config->listens[i];
    return NULL;
}

bool overlap_check(const struct config *config)
{
    bool good = true;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *other = overlap_find(config, i);
        if (!other)
            continue;
        good = false;
        config_error(config, "listen", config->listens[i].name, "address",
                     "\"%.200s\" " OVERLAP_WHY, config->listens[i].address_text,
                     other->address_text, other->name);
    }
    return good;
}
