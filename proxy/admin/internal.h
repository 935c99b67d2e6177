/* What the files of the administration interface share: its struct, and the handlers that
 * routes.c names. */
#ifndef POSTERN_ADMIN_INTERNAL_H
#define POSTERN_ADMIN_INTERNAL_H

#include "proxy/admin/admin.h"
#include "proxy/admin/server.h"

struct admin {
    struct service *service;
    const struct contexts *contexts;
    struct upstream *const *upstreams;
    struct admin_server *servers[ADMIN_KINDS];
};

static inline struct admin *admin_of(const struct admin_request *request)
{
    return request->context;
}

/* figures.c */
admin_handler admin_show_metrics, admin_show_health;
/* status.c */
admin_handler admin_show_status;

#endif
