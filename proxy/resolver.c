/*
 * Look-ups with libevent's evdns, on the reactor's loop. What the DNS says is hostile: a name
 * is taken only if it is one of a host (host_name.h), and if its owner agrees. Whoever has
 * addresses has their zone, too, and may let it be silent: no network has more than its share
 * of the questions under way, and one for which nobody waits any more is cancelled. That too
 * ends with evdns's callback, so that nothing is freed under it.
 */
#include "proxy/resolver.h"

#include <event2/dns.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/base/host_name.h"
#include "proxy/base/log.h"
#include "proxy/resolver_watch.h"

/* Under way at once, of all and of one network (/24, and /48 of IPv6). */
#define QUESTIONS      1000
#define QUESTIONS_TEXT "1000"
#define NETWORK_SHARE  32

struct resolver_request {
    LIST_ENTRY(resolver_request) link;
    struct question *question;
    resolver_callback *callback;
    void *context;
};

/* About one address; all who want to know its name wait together. */
struct question {
    LIST_ENTRY(question) link;
    struct resolver *resolver;
    struct address address;
    struct evdns_request *asked; /* NULL: no longer */
    LIST_HEAD(, resolver_request) waiting;
    char name[HOST_NAME_LIMIT + 1]; /* as the PTR record has it */
};

struct resolver {
    struct evdns_base *dns;
    struct resolver_watch *watch; /* the servers that refuse */
    unsigned count;
    LIST_HEAD(, question) questions;
};

static void end_question(struct question *question, const char *name)
{
    struct resolver_request *request;
    question->resolver->count--;
    question->asked = NULL;
    LIST_REMOVE(question, link);
    while ((request = LIST_FIRST(&question->waiting))) {
        LIST_REMOVE(request, link);
        request->callback(request->context, name);
        free(request);
    }
    free(question);
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
    struct question *question = argument;
    size_t size;
    const char *ours = address_bytes(&question->address, &size), *each = addresses;
    char wanted = question->address.any.sa_family == AF_INET ? DNS_IPv4_A : DNS_IPv6_AAAA;
    bool confirmed = false;
    (void)ttl;

    for (int i = 0; result == DNS_ERR_NONE && type == wanted && i < count; i++)
        confirmed |= memcmp(each + (size_t)i * size, ours, size) == 0;
    end_question(question, confirmed ? question->name : NULL);
}

/*
 * A NUL is part of a name in the DNS, and whoever reads the name as text sees only what stands
 * before it. libevent 2.1 gives all of it, in an array of this size that was zero before; of
 * other versions that is not known, and there what stands before the NUL must lead back.
 */
#define PTR_SIZE 64

static bool has_nul(const char *name)
{
    if (event_get_version_number() >> 16 != 0x0201)
        return false;
    for (size_t i = strlen(name); i < PTR_SIZE; i++)
        if (name[i])
            return true;
    return false;
}

static void on_name(int result, char type, int count, int ttl, void *names, void *argument)
{
    struct question *question = argument;
    struct evdns_base *dns = question->resolver->dns;
    bool found = result == DNS_ERR_NONE && type == DNS_PTR && count > 0;
    const char *name = found ? *(char **)names : NULL;
    (void)ttl;

    if (!found || has_nul(name) || !host_name_valid(name, strlen(name)) ||
        LIST_EMPTY(&question->waiting)) {
        end_question(question, NULL);
        return;
    }
    strcpy(question->name, name);
    bool v4 = question->address.any.sa_family == AF_INET;
    question->asked =
        v4 ? evdns_base_resolve_ipv4(dns, name, DNS_QUERY_NO_SEARCH, on_addresses, question)
           : evdns_base_resolve_ipv6(dns, name, DNS_QUERY_NO_SEARCH, on_addresses, question);
    if (!question->asked)
        end_question(question, NULL);
}

static struct evdns_request *ask_for_name(struct question *question)
{
    struct evdns_base *dns = question->resolver->dns;
    const struct address *address = &question->address;
    if (address->any.sa_family == AF_INET)
        return evdns_base_resolve_reverse(dns, &address->v4.sin_addr, DNS_QUERY_NO_SEARCH,
                                          on_name, question);
    if (address->any.sa_family == AF_INET6)
        return evdns_base_resolve_reverse_ipv6(dns, &address->v6.sin6_addr, DNS_QUERY_NO_SEARCH,
                                               on_name, question);
    return NULL;
}

static struct question *new_question(struct resolver *resolver, const struct address *address)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question)
        return NULL;
    question->resolver = resolver;
    question->address = *address;
    LIST_INIT(&question->waiting);
    question->asked = ask_for_name(question);
    if (!question->asked) {
        free(question);
        return NULL;
    }
    resolver->count++;
    LIST_INSERT_HEAD(&resolver->questions, question, link);
    return question;
}

/* The one about this address that is under way, or a new one; NULL: there are too many. */
static struct question *find_question(struct resolver *resolver, const struct address *address)
{
    size_t size;
    const char *wanted = address_bytes(address, &size);
    size_t network = size == sizeof address->v4.sin_addr ? 3 : 6;
    unsigned neighbours = 0;
    struct question *each;
    LIST_FOREACH(each, &resolver->questions, link)
    {
        if (each->address.any.sa_family != address->any.sa_family)
            continue;
        const char *bytes = address_bytes(&each->address, &size);
        if (memcmp(bytes, wanted, size) == 0 && !LIST_EMPTY(&each->waiting))
            return each;
        neighbours += memcmp(bytes, wanted, network) == 0;
    }
    if (resolver->count >= QUESTIONS || neighbours >= NETWORK_SHARE ||
        !resolver_watch_may_ask(resolver->watch))
        return NULL;
    return new_question(resolver, address);
}

/* Cancelled as soon as nobody waits. */
static void leave(struct question *question)
{
    struct evdns_request *asked = question->asked;
    if (!LIST_EMPTY(&question->waiting) || !asked)
        return;
    question->asked = NULL;
    evdns_cancel_request(question->resolver->dns, asked);
}

/* No name server is left: those who wait go on without a name, in the next turn. */
static void on_refused(void *context)
{
    struct resolver *resolver = context;
    struct question *each;
    LIST_FOREACH(each, &resolver->questions, link)
    if (each->asked) {
        struct evdns_request *asked = each->asked;
        each->asked = NULL;
        evdns_cancel_request(resolver->dns, asked);
    }
}

struct resolver_request *resolver_find_name(struct resolver *resolver,
                                            const struct address *address,
                                            resolver_callback *callback, void *context)
{
    struct resolver_request *request = malloc(sizeof *request);
    if (!request)
        return NULL;
    struct question *question = find_question(resolver, address);
    if (!question) {
        free(request);
        return NULL;
    }
    request->question = question;
    request->callback = callback;
    request->context = context;
    LIST_INSERT_HEAD(&question->waiting, request, link);
    return request;
}

void resolver_request_cancel(struct resolver_request *request)
{
    if (!request)
        return;
    struct question *question = request->question;
    LIST_REMOVE(request, link);
    free(request);
    leave(question);
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

/* How long one try may take, and how many there are: less in all than a client waits. A name
 * server is not given up for what zones of strangers do not say. */
static void set_options(struct evdns_base *dns)
{
    static const char *const options[][2] = {{"max-inflight", QUESTIONS_TEXT},
                                             {"timeout", "2"},
                                             {"attempts", "2"},
                                             {"max-timeouts", "20"}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (evdns_base_set_option(dns, options[i][0], options[i][1]) != 0)
            log_warning("DNS: %s cannot be set", options[i][0]);
}

struct resolver *resolver_new(struct event_base *base, const struct config_texts *nameservers)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver)
        return NULL;
    LIST_INIT(&resolver->questions);
    evdns_set_log_fn(tell);
    resolver->dns = evdns_base_new(base, 0);
    if (resolver->dns)
        set_options(resolver->dns);
    if (resolver->dns && add_nameservers(resolver->dns, nameservers))
        resolver->watch = resolver_watch_new(base, resolver->dns, on_refused, resolver);
    if (resolver->watch)
        return resolver;
    log_error("resolve: no name server can be asked");
    resolver_free(resolver);
    return NULL;
}

void resolver_free(struct resolver *resolver)
{
    struct question *question;
    struct resolver_request *request;
    if (!resolver)
        return;
    resolver_watch_free(resolver->watch);
    if (resolver->dns)
        evdns_base_free(resolver->dns, 0);
    while ((question = LIST_FIRST(&resolver->questions))) {
        LIST_REMOVE(question, link);
        while ((request = LIST_FIRST(&question->waiting))) {
            LIST_REMOVE(request, link);
            free(request);
        }
        free(question);
    }
    free(resolver);
}
