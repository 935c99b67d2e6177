/*
 * Look-ups with libevent's evdns, on the reactor's loop. What the DNS says is hostile: a name
 * is taken only if it is one by its letters, and if its owner agrees. A request that nobody
 * waits for any more stays until evdns has an answer or gives up, so that nothing is freed
 * under it; how many there may be is bounded.
 */
#include "proxy/resolver.h"

#include <event2/dns.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/base/log.h"
#include "proxy/smtp/command.h"

#define REQUEST_LIMIT 1000

struct resolver_request {
    LIST_ENTRY(resolver_request) link;
    struct resolver *resolver;
    struct address address;
    resolver_callback *callback; /* NULL: nobody waits */
    void *context;
    char name[SMTP_DOMAIN_LIMIT + 1]; /* as the PTR record has it */
};

struct resolver {
    struct evdns_base *dns;
    unsigned count;
    LIST_HEAD(, resolver_request) requests;
};

static void end_request(struct resolver_request *request, const char *name)
{
    request->resolver->count--;
    LIST_REMOVE(request, link);
    if (request->callback)
        request->callback(request->context, name);
    free(request);
}

static const void *address_bytes(const struct address *address, size_t *size)
{
    bool v4 = address->any.sa_family == AF_INET;
    *size = v4 ? sizeof address->v4.sin_addr : sizeof address->v6.sin6_addr;
    return v4 ? (const void *)&address->v4.sin_addr : (const void *)&address->v6.sin6_addr;
}

/* Does the name lead back? */
static void on_addresses(int result, char type, int count, int ttl, void *addresses,
                         void *argument)
{
    struct resolver_request *request = argument;
    size_t size;
    const char *ours = address_bytes(&request->address, &size), *each = addresses;
    char wanted = request->address.any.sa_family == AF_INET ? DNS_IPv4_A : DNS_IPv6_AAAA;
    bool confirmed = false;
    (void)ttl;

    for (int i = 0; result == DNS_ERR_NONE && type == wanted && i < count; i++)
        confirmed |= memcmp(each + (size_t)i * size, ours, size) == 0;
    end_request(request, confirmed ? request->name : NULL);
}

static bool is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    size_t length = strlen(text);
    return length > 0 && length <= SMTP_DOMAIN_LIMIT && strspn(text, letters) == length &&
           text[0] != '.' && text[0] != '-';
}

static void on_name(int result, char type, int count, int ttl, void *names, void *argument)
{
    struct resolver_request *request = argument;
    struct evdns_base *dns = request->resolver->dns;
    bool found = result == DNS_ERR_NONE && type == DNS_PTR && count > 0;
    const char *name = found ? *(char **)names : "";
    (void)ttl;

    if (!is_name(name)) {
        end_request(request, NULL);
        return;
    }
    strcpy(request->name, name);
    bool v4 = request->address.any.sa_family == AF_INET;
    struct evdns_request *asked =
        v4 ? evdns_base_resolve_ipv4(dns, name, DNS_QUERY_NO_SEARCH, on_addresses, request)
           : evdns_base_resolve_ipv6(dns, name, DNS_QUERY_NO_SEARCH, on_addresses, request);
    if (!asked)
        end_request(request, NULL);
}

static bool ask_for_name(struct resolver_request *request)
{
    struct evdns_base *dns = request->resolver->dns;
    const struct address *address = &request->address;
    if (address->any.sa_family == AF_INET)
        return evdns_base_resolve_reverse(dns, &address->v4.sin_addr, DNS_QUERY_NO_SEARCH,
                                          on_name, request);
    return address->any.sa_family == AF_INET6 &&
           evdns_base_resolve_reverse_ipv6(dns, &address->v6.sin6_addr, DNS_QUERY_NO_SEARCH,
                                           on_name, request);
}

struct resolver_request *resolver_find_name(struct resolver *resolver,
                                            const struct address *address,
                                            resolver_callback *callback, void *context)
{
    if (resolver->count >= REQUEST_LIMIT)
        return NULL;
    struct resolver_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->resolver = resolver;
    request->address = *address;
    request->callback = callback;
    request->context = context;
    if (!ask_for_name(request)) {
        free(request);
        return NULL;
    }
    resolver->count++;
    LIST_INSERT_HEAD(&resolver->requests, request, link);
    return request;
}

void resolver_request_cancel(struct resolver_request *request)
{
    if (request)
        request->callback = NULL;
}

static void tell(int is_warning, const char *text)
{
    if (is_warning)
        log_warning("DNS: %s", text);
    else
        log_debug("DNS: %s", text);
}

static bool add_nameservers(struct evdns_base *dns, const struct config_texts *nameservers)
{
    for (size_t i = 0; i < nameservers->count; i++)
        if (evdns_base_nameserver_ip_add(dns, nameservers->text[i]) != 0)
            log_warning("nameservers: \"%s\" cannot be used", nameservers->text[i]);
    if (nameservers->count == 0 &&
        evdns_base_resolv_conf_parse(dns, DNS_OPTION_NAMESERVERS | DNS_OPTION_MISC,
                                     "/etc/resolv.conf") != 0)
        log_warning("/etc/resolv.conf names no name server that could be used");
    return evdns_base_count_nameservers(dns) > 0;
}

struct resolver *resolver_new(struct event_base *base, const struct config_texts *nameservers)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver)
        return NULL;
    LIST_INIT(&resolver->requests);
    evdns_set_log_fn(tell);
    resolver->dns = evdns_base_new(base, 0);
    if (resolver->dns && add_nameservers(resolver->dns, nameservers))
        return resolver;
    log_error("resolve: no name server can be asked");
    resolver_free(resolver);
    return NULL;
}

void resolver_free(struct resolver *resolver)
{
    struct resolver_request *request;
    if (!resolver)
        return;
    if (resolver->dns)
        evdns_base_free(resolver->dns, 0);
    while ((request = LIST_FIRST(&resolver->requests))) {
        LIST_REMOVE(request, link);
        free(request);
    }
    free(resolver);
}
