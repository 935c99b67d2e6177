/* What the files of the administration interface share: its struct, and the handlers that
 * routes.c names. */
#ifndef POSTERN_ADMIN_INTERNAL_H
#define POSTERN_ADMIN_INTERNAL_H

#include <sys/queue.h>

#include "proxy/admin/admin.h"
#include "proxy/admin/asked.h"
#include "proxy/admin/events.h"
#include "proxy/admin/peers.h"
#include "proxy/admin/server.h"

struct admin_order;
LIST_HEAD(admin_order_list, admin_order);

struct admin {
    struct service *service;
    const struct contexts *contexts;
    struct upstream *const *upstreams;
    struct admin_server *servers[ADMIN_KINDS];
    struct admin_peers *peers;
    struct admin_asked *asked;
    struct admin_watched *watched;
    struct admin_events *events;
    struct admin_order_list orders; /* that the master has not carried out yet */
    bool is_orphan;                 /* there is no master any more */
};

static inline struct admin *admin_of(const struct admin_request *request)
{
    return request->context;
}

/* figures.c */
admin_handler admin_show_metrics, admin_show_health;
/* events.c */
admin_handler admin_show_events;
/* failures.c */
admin_handler admin_show_failures;
/* history.c */
admin_handler admin_show_history;
/* page.c */
admin_handler admin_show_page;
/* status.c */
admin_handler admin_show_status;
/* sessions.c */
admin_handler admin_show_sessions, admin_end_sessions;
/* permits.c */
admin_handler admin_show_permits, admin_order_permit, admin_order_deny, admin_order_revoke;
/* orders.c */
admin_handler admin_order_drain, admin_order_resume, admin_order_reload, admin_order_level;
admin_handler admin_order_reopen;
/* The master has told of something; `file` stays the caller's. */
void admin_orders_told(struct admin *admin, const struct control_message *message, int file);
/* It will not carry out what it was asked for, and why. */
void admin_orders_fail(struct admin *admin, const char *why);
#define ADMIN_ORPHANED "the master is gone"
#define ADMIN_STOPPING "Postern is stopping"

#endif
