/*
 * Between evhttp and the routes. A connection has one of a few places (places.h), so that a few
 * who ask slowly do not keep out everybody else.
 *
 * At the address for figures any user, and any page in a browser, of this machine may ask, and
 * others from the networks of admin.allow (guest.h): there are figures only, and neither a
 * foreign Host (DNS rebinding; authority.h) nor an Origin is let in. The same holds on the unix
 * socket, to which a port of the postmaster's own machine may lead. evhttp accepts whoever
 * comes: a connection is looked at in the same turn of the loop, before it is read from.
 */
#include "proxy/admin/server.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/admin/authority.h"
#include "proxy/admin/places.h"
#include "proxy/base/log.h"
#include "proxy/base/slab.h"
#include "proxy/room.h"
#include "proxy/statistics.h"

#define HEADERS_SIZE_LIMIT 8192
#define BODY_SIZE_LIMIT    1024
#define TIMEOUT_S          20
#define LOOK_MS            100
#define ANSWER_BYTES       ((size_t)4 * 1024 * 1024)

struct admin_server {
    struct service *service;
    enum admin_kind kind;
    void *context;
    struct evhttp *http;
    struct evhttp_bound_socket *bound; /* NULL: accepts nobody */
    struct admin_places places;
    struct event timer, newcomers;
};

/* By kind; evhttp does not say whose listener has failed. */
static struct admin_server *servers[ADMIN_KINDS];

unsigned admin_server_connections(struct admin_server *server)
{
    return admin_places_count(&server->places);
}

static void enable(const struct admin_server *server, bool enabled)
{
    struct evconnlistener *listener =
        server->bound ? evhttp_bound_socket_get_listener(server->bound) : NULL;
    if (listener && enabled)
        evconnlistener_enable(listener);
    else if (listener)
        evconnlistener_disable(listener);
}

static void on_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct admin_server *server = argument;
    struct timeval wait = {0, LOOK_MS * 1000};
    unsigned open = admin_server_connections(server);
    bool is_short = slab_is_short();
    enable(server, open < ADMIN_PLACES && !is_short);
    if (open > 0 || is_short)
        evtimer_add(&server->timer, &wait);
}

/* The unix socket has its mode. */
static void look_at_newcomers(struct admin_server *server)
{
    if (server->kind == ADMIN_FIGURES)
        admin_places_look(&server->places, &server->service->config->admin);
}

/* In the same turn of the loop in which they were accepted: none has been read from. */
static void on_newcomers(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct admin_server *server = argument;
    struct timeval soon = {0, 1000};
    look_at_newcomers(server);
    if (admin_places_refused(&server->places) > 0)
        evtimer_add(&server->timer, &soon);
}

static void mark(struct admin_server *server, struct evhttp_request *http, bool waits)
{
    struct admin_place *place = admin_places_find(&server->places, http);
    if (place)
        place->waits = waits;
}

/* For one more that evhttp has accepted; it gets its callbacks and its socket when this
 * returns. */
static struct bufferevent *make_connection(struct event_base *base, void *argument)
{
    struct admin_server *server = argument;
    struct timeval wait = {0, LOOK_MS * 1000};
    struct bufferevent *made = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    look_at_newcomers(server);
    event_active(&server->newcomers, EV_TIMEOUT, 0);
    bool is_full = admin_places_count(&server->places) + 1 >= ADMIN_PLACES;
    if (made)
        admin_places_add(&server->places, made);
    if (is_full && admin_places_refused(&server->places) == 0)
        admin_places_make_way(&server->places);
    enable(server, !is_full && !slab_is_short());
    if (!evtimer_pending(&server->timer, NULL))
        evtimer_add(&server->timer, &wait);
    return made;
}

void admin_add_header(struct admin_request *request, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(request->http), name, value);
}

/* The answer to HEAD tells of the body, and has none (RFC 9110 section 9.3.2). */
static void leave_body(struct admin_request *request)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", evbuffer_get_length(request->body));
    admin_add_header(request, "Content-Length", length);
    evbuffer_drain(request->body, evbuffer_get_length(request->body));
}

static void reply(struct admin_request *request, int status, const char *content_type)
{
    admin_add_header(request, "Content-Type", content_type);
    admin_add_header(request, "Cache-Control", "no-store");
    admin_add_header(request, "Connection", "close"); /* so that no generation waits for it */
    admin_add_header(request, "X-Content-Type-Options", "nosniff");
    if (evhttp_request_get_command(request->http) == EVHTTP_REQ_HEAD)
        leave_body(request);
    mark(request->server, request->http, false);
    evhttp_send_reply(request->http, status, NULL, request->body);
    evbuffer_free(request->body);
    free(request);
}

void admin_reply(struct admin_request *request, const char *content_type)
{
    reply(request, HTTP_OK, content_type);
}

void admin_reply_json_as(struct admin_request *request, int status)
{
    json_finish(&request->json);
    if (request->json.failed)
        admin_reply_error(request, HTTP_INTERNAL, "out of memory");
    else
        reply(request, status, "application/json");
}

void admin_reply_json(struct admin_request *request)
{
    admin_reply_json_as(request, HTTP_OK);
}

void admin_reply_error(struct admin_request *request, int status, const char *why)
{
    evbuffer_drain(request->body, evbuffer_get_length(request->body));
    json_start(&request->json, request->body);
    json_text(&request->json, "error", why);
    json_finish(&request->json);
    reply(request, status, "application/json");
}

/* What is asked for, and of whom. */
struct target {
    const char *host, *path, *query;
    size_t host_length, path_length;
};

/* A host in the target itself takes the place of the field's (RFC 9112 section 3.2.2). */
static struct target read_target(struct evhttp_request *http)
{
    static const char scheme[] = "http://";
    const char *text = evhttp_request_get_uri(http);
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(http), "Host");
    struct target target = {.host = host, .host_length = host ? strlen(host) : 0};
    if (strncasecmp(text, scheme, strlen(scheme)) == 0) {
        target.host = text + strlen(scheme);
        target.host_length = strcspn(target.host, "/?");
        text = target.host + target.host_length;
    }
    size_t length = strcspn(text, "?");
    target.query = text[length] ? text + length + 1 : text + length;
    target.path = length > 0 ? text : "/";
    target.path_length = length > 0 ? length : 1;
    return target;
}

/* More than one is none that can be believed (RFC 9112 section 3.2). */
static bool has_one_host(struct evhttp_request *http)
{
    const struct evkeyval *each;
    unsigned count = 0;
    TAILQ_FOREACH(each, evhttp_request_get_input_headers(http), next)
    count += strcasecmp(each->key, "Host") == 0;
    return count <= 1;
}

/* A health check in HTTP/1.0, as HAProxy makes it, says no host; a browser does. */
static bool names_no_host(struct evhttp_request *http, const struct target *target)
{
    return !target->host && http->major == 1 && http->minor == 0;
}

/* Where other hosts may read the figures, they ask by this host's address or name. */
static bool is_direct(const struct admin_server *server, struct evhttp_request *http,
                      const struct target *target)
{
    const struct config *config = server->service->config;
    return names_no_host(http, target) ||
           admin_authority_is_direct(target->host, target->host_length, config->hostname);
}

/* Why a page of another site may have asked; NULL: none has. */
static const char *find_foreign(const struct admin_server *server, struct evhttp_request *http,
                                const struct target *target)
{
    bool is_open =
        server->kind == ADMIN_FIGURES && server->service->config->admin.allow.count > 0;
    if (evhttp_find_header(evhttp_request_get_input_headers(http), "Origin"))
        return "not from another site";
    if (admin_authority_is_own(target->host, target->host_length,
                               server->kind == ADMIN_COMMANDS) ||
        (is_open && is_direct(server, http, target)))
        return NULL;
    return is_open ? "not by this name: ask by address, or by the hostname"
                   : "not from another site";
}

/* It has been shut down already, unless it came without a place. */
static bool may_ask(struct admin_server *server, struct evhttp_request *http)
{
    const struct admin_place *place = admin_places_find(&server->places, http);
    return server->kind == ADMIN_COMMANDS || (place && (place->guest == ADMIN_GUEST_LOCAL ||
                                                        place->guest == ADMIN_GUEST_ALLOWED));
}

static const struct admin_route *find_route(const struct admin_server *server,
                                            const struct target *target)
{
    for (const struct admin_route *each = admin_routes; each->path; each++)
        if (strlen(each->path) == target->path_length &&
            memcmp(each->path, target->path, target->path_length) == 0 &&
            (each->is_figures || server->kind == ADMIN_COMMANDS))
            return each;
    return NULL;
}

static bool method_fits(const struct admin_route *route, struct evhttp_request *http)
{
    enum evhttp_cmd_type method = evhttp_request_get_command(http);
    return route->method == ADMIN_POST ? method == EVHTTP_REQ_POST
                                       : method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;
}

static void refuse_method(struct admin_request *request, const struct admin_route *route)
{
    admin_add_header(request, "Allow", route->method == ADMIN_POST ? "POST" : "GET, HEAD");
    admin_reply_error(request, HTTP_BADMETHOD, "this path has another method");
}

static void take(struct admin_server *server, struct admin_request *request)
{
    struct target target = read_target(request->http);
    const struct admin_route *route = find_route(server, &target);
    const char *why = NULL;

    if (!may_ask(server, request->http))
        admin_reply_error(request, 403, "not from this address");
    else if (!has_one_host(request->http))
        admin_reply_error(request, HTTP_BADREQUEST, "more than one field \"Host\"");
    else if ((why = find_foreign(server, request->http, &target)))
        admin_reply_error(request, 403, why);
    else if (!route)
        admin_reply_error(request, HTTP_NOTFOUND, "there is nothing here");
    else if (!method_fits(route, request->http))
        refuse_method(request, route);
    else if (evbuffer_get_length(evhttp_request_get_input_buffer(request->http)) > 0)
        admin_reply_error(request, HTTP_BADREQUEST, "no content is taken here");
    else if ((why = admin_query_parse(target.query, strlen(target.query), route->parameters,
                                      &request->query)))
        admin_reply_error(request, HTTP_BADREQUEST, why);
    else
        route->handler(request);
}

/* Is there too little for a long answer? Sessions need what is left more than a query does, and
 * evhttp does not survive it. */
static bool lacks_memory(void)
{
    void *volatile trial = slab_is_short() ? NULL : malloc(ANSWER_BYTES);
    free(trial);
    return !trial;
}

static void refuse_for_memory(struct admin_request *request)
{
    statistics_add(&statistics->limits[STATISTICS_LIMIT_MEMORY], 1);
    log_warning("a query of the administration interface is refused: out of memory");
    admin_reply_error(request, 503, "out of memory");
}

static void on_request(struct evhttp_request *http, void *argument)
{
    struct admin_server *server = argument;
    struct admin_request *request = calloc(1, sizeof *request);
    struct evbuffer *body = evbuffer_new();
    if (!request || !body) {
        free(request);
        if (body)
            evbuffer_free(body);
        evhttp_send_error(http, HTTP_INTERNAL, NULL);
        return;
    }
    mark(server, http, true);
    request->http = http;
    request->server = server;
    request->context = server->context;
    request->body = body;
    if (lacks_memory())
        refuse_for_memory(request);
    else
        take(server, request);
}

/* All of them come here, to be told what would be right. */
#define METHODS                                                                                \
    (EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | \
     EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH)

struct admin_server *admin_server_new(struct service *service, enum admin_kind kind,
                                      void *context)
{
    struct admin_server *server = calloc(1, sizeof *server);
    struct evhttp *http = evhttp_new(service->base);
    if (!server || !http) {
        free(server);
        if (http)
            evhttp_free(http);
        return NULL;
    }
    *server = (struct admin_server){
        .service = service, .kind = kind, .context = context, .http = http};
    servers[kind] = server;
    evtimer_assign(&server->timer, service->base, on_timer, server);
    evtimer_assign(&server->newcomers, service->base, on_newcomers, server);
    evhttp_set_max_headers_size(http, HEADERS_SIZE_LIMIT);
    evhttp_set_max_body_size(http, BODY_SIZE_LIMIT);
    evhttp_set_timeout(http, TIMEOUT_S);
    evhttp_set_allowed_methods(http, METHODS);
    evhttp_set_bevcb(http, make_connection, server);
    evhttp_set_gencb(http, on_request, server);
    return server;
}

void admin_server_free(struct admin_server *server)
{
    if (!server)
        return;
    servers[server->kind] = NULL;
    evhttp_free(server->http);
    (void)admin_places_count(&server->places);
    event_del(&server->timer);
    event_del(&server->newcomers);
    free(server);
}

/* A postmaster's question comes before connections that are idle; the timer looks again where
 * none of these can give way. libevent would try again without a pause. */
static void on_accept_error(struct evconnlistener *listener, void *http)
{
    (void)http;
    struct admin_server *server = NULL;
    for (int i = 0; i < ADMIN_KINDS; i++)
        if (servers[i] && servers[i]->bound &&
            evhttp_bound_socket_get_listener(servers[i]->bound) == listener)
            server = servers[i];
    if (!server || (room_is_lacking(errno) && room_free_descriptor(server->service)))
        return;
    struct timeval wait = {0, LOOK_MS * 1000};
    enable(server, false);
    evtimer_add(&server->timer, &wait);
}

void admin_server_listen(struct admin_server *server, int fd)
{
    if (server->bound)
        evhttp_del_accept_socket(server->http, server->bound);
    server->bound = NULL;
    if (fd < 0)
        return;
    struct evconnlistener *listener =
        evconnlistener_new(server->service->base, NULL, NULL,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (listener)
        evconnlistener_set_error_cb(listener, on_accept_error);
    if (listener)
        server->bound = evhttp_bind_listener(server->http, listener);
    else
        close(fd);
    if (!server->bound)
        log_error("the administration interface cannot be served: out of memory");
}
