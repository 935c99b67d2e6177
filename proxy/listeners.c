/*
 * Binding and keeping. Sockets are never closed while connections may wait in them, but when
 * the configuration no longer names their address. Used by the master only.
 */
#include "proxy/listeners.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/supervisor.h"

#define BACKLOG 4096

struct listener {
    struct address address;
    bool adopted;      /* a supervisor has passed it */
    const char *fault; /* why what was passed cannot be served; NULL: it can */
    bool named;        /* by the configuration that is being kept */
    size_t count;
    size_t listening; /* the first of them; the others are bound only */
    int *fds;
};

struct listeners {
    size_t count;
    struct listener *list;
};

struct listeners *listeners_new(void)
{
    return calloc(1, sizeof(struct listeners));
}

static void close_listener(struct listener *listener)
{
    for (size_t i = 0; i < listener->count; i++)
        close(listener->fds[i]);
    free(listener->fds);
}

static void close_silent(struct listener *listener)
{
    while (listener->count > listener->listening)
        close(listener->fds[--listener->count]);
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        close_listener(&listeners->list[i]);
    listeners->count = 0;
}

void listeners_free(struct listeners *listeners)
{
    listeners_close(listeners);
    free(listeners->list);
    free(listeners);
}

static struct listener *find(const struct listeners *listeners, const struct address *address)
{
    for (size_t i = 0; i < listeners->count; i++)
        if (address_equal(&listeners->list[i].address, address))
            return &listeners->list[i];
    return NULL;
}

static bool is_any(const struct address *address, sa_family_t family)
{
    return address->any.sa_family == family && address_is_any(address);
}

/*
 * What serves an address. [::] is all addresses, and where the machine has no IPv6, a
 * supervisor makes and passes 0.0.0.0 for it.
 */
static struct listener *find_serving(const struct listeners *listeners,
                                     const struct address *address)
{
    struct listener *exact = find(listeners, address);
    for (size_t i = 0; i < listeners->count && !exact && is_any(address, AF_INET6); i++) {
        struct listener *each = &listeners->list[i];
        if (each->adopted && is_any(&each->address, AF_INET) &&
            address_port(&each->address) == address_port(address))
            return each;
    }
    return exact;
}

static struct listener *add(struct listeners *listeners, const struct address *address)
{
    struct listener *list =
        realloc(listeners->list, (listeners->count + 1) * sizeof *listeners->list);
    if (!list)
        return NULL;
    listeners->list = list;
    list[listeners->count] = (struct listener){.address = *address};
    return &list[listeners->count++];
}

static bool keep(struct listener *listener, int fd, bool listens)
{
    int *fds = realloc(listener->fds, (listener->count + 1) * sizeof *fds);
    if (!fds) {
        close(fd);
        return false;
    }
    listener->fds = fds;
    fds[listener->count++] = fd;
    if (listens)
        listener->listening = listener->count;
    return true;
}

/* What connections inherit is set here, once: no Nagle. */
static bool set_options(int fd, const struct address *address)
{
    static const int on = 1, off = 0;
    bool good = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
    if (address->any.sa_family == AF_INET6)
        good = good && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
    return good;
}

/*
 * The first socket of an address is bound before it is shared, so that another server there is
 * found out, even one of the same user.
 */
static int bind_socket(const struct address *address, bool first)
{
    static const int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool good = set_options(fd, address);
    if (!first)
        good = good && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    good = good && bind(fd, &address->any, address->length) == 0;
    if (first)
        good = good && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
    if (good && (!first || listen(fd, BACKLOG) == 0))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* [::] is all addresses; where the machine has no IPv6, that is 0.0.0.0. */
static int open_socket(const struct address *address, bool first)
{
    int fd = bind_socket(address, first);
    if (fd >= 0 || errno != EAFNOSUPPORT || address->any.sa_family != AF_INET6 ||
        !IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr))
        return fd;
    struct address any = {.length = sizeof any.v4,
                          .v4 = {.sin_family = AF_INET, .sin_port = address->v6.sin6_port}};
    return bind_socket(&any, first);
}

/* What to do about it. */
static const char *pointer_for(int error)
{
    return error == EADDRINUSE ? ": \"postern doctor\" says which process has it" : "";
}

static bool open_all(struct listener *listener, const struct config_listen *listen,
                     const struct config *config)
{
    while (!listener->adopted && listener->count < config->workers) {
        bool first = listener->count == 0;
        int fd = open_socket(&listen->address, first);
        if (fd < 0) {
            config_error(config, "listen", listen->name, "address", "cannot listen on %s: %s%s",
                         listen->address_text, strerrordesc_np(errno), pointer_for(errno));
            return false;
        }
        if (!keep(listener, fd, first))
            return false;
    }
    return true;
}

static bool is_named(const struct config *config, const struct address *address)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (address_equal(&config->listens[i].address, address))
            return true;
    return false;
}

static bool has_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, option, &value, &size) == 0 && value;
}

/* [::] without IPv4 is for those who have a listener for IPv4 as well. */
static const char *fault_of(const struct listener *listener, const struct config *config)
{
    struct address v4 = {
        .length = sizeof v4.v4,
        .v4 = {.sin_family = AF_INET, .sin_port = htons(address_port(&listener->address))}};
    if (!listener->adopted || listener->fault)
        return listener->fault;
    if (is_any(&listener->address, AF_INET6) && !is_named(config, &v4) &&
        has_option(listener->fds[0], IPPROTO_IPV6, IPV6_V6ONLY))
        return "takes IPv6 only (a socket unit needs BindIPv6Only=both)";
    return NULL;
}

static bool machine_has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Whatever serves it has been passed or is open already. */
static bool may_serve(const struct listener *listener, const struct config_listen *listen,
                      const struct config *config)
{
    const char *fault = fault_of(listener, config);
    if (fault) {
        log_error("listen \"%s\": the socket on %s that was passed here %s", listen->name,
                  listen->address_text, fault);
        return false;
    }
    if (listener->address.any.sa_family != listen->address.any.sa_family && machine_has_ipv6())
        log_warning("listen \"%s\": the socket on %s that was passed here takes IPv4 only",
                    listen->name, listen->address_text);
    return true;
}

bool listeners_open(struct listeners *listeners, const struct config *config)
{
    bool good = true;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listens[i];
        struct listener *listener = find_serving(listeners, &listen->address);
        if (listener && !may_serve(listener, listen, config)) {
            good = false;
            continue;
        }
        if (!listener)
            listener = add(listeners, &listen->address);
        if (!listener || !open_all(listener, listen, config))
            good = false;
    }
    return good;
}

static bool begin(const struct listener *listener)
{
    for (size_t i = listener->listening; i < listener->count; i++)
        if (listen(listener->fds[i], BACKLOG) < 0) {
            char text[ADDRESS_TEXT_SIZE];
            address_text(&listener->address, text);
            log_error("cannot listen on %s: %s%s", text, strerrordesc_np(errno),
                      pointer_for(errno));
            return false;
        }
    return true;
}

bool listeners_begin(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        if (!begin(&listeners->list[i]))
            return false;
    for (size_t i = 0; i < listeners->count; i++)
        listeners->list[i].listening = listeners->list[i].count;
    return true;
}

static void mark_named(struct listeners *listeners, const struct config *config)
{
    for (size_t i = 0; i < listeners->count; i++)
        listeners->list[i].named = !config;
    for (size_t i = 0; config && i < config->listen_count; i++) {
        struct listener *serving = find_serving(listeners, &config->listens[i].address);
        if (serving)
            serving->named = true;
    }
}

void listeners_trim(struct listeners *listeners, const struct config *config)
{
    size_t kept = 0;
    mark_named(listeners, config);
    for (size_t i = 0; i < listeners->count; i++) {
        struct listener *each = &listeners->list[i];
        close_silent(each);
        if (each->count > 0 && each->named) {
            listeners->list[kept++] = *each;
            continue;
        }
        if (each->adopted) {
            char text[ADDRESS_TEXT_SIZE];
            address_text(&each->address, text);
            log_warning(
                "the socket on %s that was passed here is not in the configuration: closed",
                text);
        }
        close_listener(each);
    }
    listeners->count = kept;
}

/* Why nobody can be accepted there; NULL: that is possible. */
static const char *passed_fault(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return "is not for TCP (a socket unit needs ListenStream)";
    if (!has_option(fd, SOL_SOCKET, SO_ACCEPTCONN))
        return "does not listen (a socket unit needs Accept=no)";
    return NULL;
}

static bool adopt_socket(struct listeners *listeners, int fd)
{
    struct address address = {0};
    socklen_t length = sizeof address - offsetof(struct address, any);
    static const int on = 1;
    if (getsockname(fd, &address.any, &length) < 0) {
        log_error("descriptor %d that was passed here is not a socket", fd);
        return false;
    }
    address.length = length;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const char *fault = passed_fault(fd);
    struct listener *listener = fault ? NULL : find(listeners, &address);
    if (!listener || listener->fault)
        listener = add(listeners, &address);
    if (!listener)
        return false;
    listener->adopted = true;
    listener->fault = fault;
    return keep(listener, fd, true);
}

bool listeners_adopt(struct listeners *listeners)
{
    int first, count = supervisor_sockets(&first);
    for (int i = 0; i < count; i++)
        if (!adopt_socket(listeners, first + i))
            return false;
    return true;
}

/* Every socket is served by a reactor, and every reactor serves a socket, whatever the numbers.
 */
size_t listeners_of(const struct listeners *listeners, const struct config_listen *listen,
                    bool only_listening, unsigned index, unsigned count, int *out, size_t size)
{
    const struct listener *listener = find_serving(listeners, &listen->address);
    size_t found = 0, sockets = 0;
    if (listener)
        sockets = only_listening ? listener->listening : listener->count;
    for (size_t i = 0; i < sockets; i++) {
        bool mine = sockets >= count ? i % count == index : index % sockets == i;
        if (mine && found < size)
            out[found++] = listener->fds[i];
    }
    return found;
}

size_t listeners_count(const struct listeners *listeners)
{
    size_t count = 0;
    for (size_t i = 0; i < listeners->count; i++)
        count += listeners->list[i].count;
    return count;
}

int listeners_socket(const struct listeners *listeners, size_t index,
                     char address[static ADDRESS_TEXT_SIZE])
{
    const struct listener *listener = listeners->list;
    for (; index >= listener->count; listener++)
        index -= listener->count;
    address_text(&listener->address, address);
    return listener->fds[index];
}

/* All sockets that are not passed by a supervisor share their address (bind_socket()). */
bool listeners_inherit(struct listeners *listeners, int fd, const struct address *address)
{
    if (!has_option(fd, SOL_SOCKET, SO_ACCEPTCONN))
        return false;
    struct listener *listener = find(listeners, address);
    if (!listener)
        listener = add(listeners, address);
    if (!listener)
        return false;
    listener->adopted = !has_option(fd, SOL_SOCKET, SO_REUSEPORT);
    return keep(listener, fd, true);
}
