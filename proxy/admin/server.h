/*
 * HTTP for the administration interface, on libevent's evhttp: a table of
 * routes, what a request may be, and replies. Few connections at a time, small
 * requests, short waits; whatever is not in the table is refused.
 */
#ifndef POSTERN_ADMIN_SERVER_H
#define POSTERN_ADMIN_SERVER_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdbool.h>

#include "proxy/admin/json.h"
#include "proxy/admin/query.h"
#include "proxy/admin/sockets.h"
#include "proxy/base/compiler.h"
#include "proxy/service.h"

struct admin_server;

/* A request that has been found good. Its handler replies to it once, now or later. */
struct admin_request {
    struct evhttp_request *http;
    struct admin_server *server;
    void *context; /* of the server */
    struct admin_query query;
    struct json json; /* into `body` */
    struct evbuffer *body;
};

typedef void admin_handler(struct admin_request *request);

enum admin_method { ADMIN_GET, ADMIN_POST };

struct admin_route {
    const char *path;
    enum admin_method method;
    bool is_figures;     /* is there on the address for figures too */
    unsigned parameters; /* that it takes: bits 1u << enum admin_parameter */
    admin_handler *handler;
};

/* What is known at the paths of the interface; the last one has no path (routes.c). */
extern const struct admin_route admin_routes[];

MUST_USE struct admin_server *admin_server_new(struct service *service, enum admin_kind kind,
                                               void *context);
/* Requests that have not been replied to must be gone. NULL is allowed. */
void admin_server_free(struct admin_server *server);

/* Serves this listening socket, which is the server's from now on; -1: accepts no more. */
void admin_server_listen(struct admin_server *server, int fd);

/* Connections that are open. */
unsigned admin_server_connections(struct admin_server *server);

/* For the reply that is to come. */
void admin_add_header(struct admin_request *request, const char *name, const char *value);
/* Replies with what is in the request's body, and frees the request. */
void admin_reply(struct admin_request *request, const char *content_type);
/* The same with JSON: the object that json_start() began in `request->json` is ended. */
void admin_reply_json(struct admin_request *request);
void admin_reply_json_as(struct admin_request *request, int status);
/* Replies with {"error": why}, and frees the request. */
void admin_reply_error(struct admin_request *request, int status, const char *why);

#endif
