/*
 * A reactor's part in administration: takes what the master sends for it, and owns the two HTTP
 * servers, which have sockets in one reactor of all only.
 */
#include "proxy/admin/admin.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/admin/internal.h"

static bool make_servers(struct admin *admin)
{
    for (int i = 0; i < ADMIN_KINDS; i++) {
        admin->servers[i] = admin_server_new(admin->service, (enum admin_kind)i, admin);
        if (!admin->servers[i])
            return false;
    }
    return true;
}

struct admin *admin_new(struct service *service, const struct contexts *contexts,
                        struct upstream *const *upstreams)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return NULL;
    *admin = (struct admin){.service = service,
                            .contexts = contexts,
                            .upstreams = upstreams,
                            .peers = admin_peers_new(service),
                            .watched = admin_watched_new(service->base)};
    LIST_INIT(&admin->orders);
    admin->asked = admin_asked_new(service, admin->watched);
    admin->events = admin_events_new(service->base, admin->peers, admin->watched);
    if (admin->peers && admin->asked && admin->watched && admin->events && make_servers(admin))
        return admin;
    admin_free(admin);
    return NULL;
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    admin_orders_fail(admin, "the reactor ends");
    admin_events_free(admin->events);
    admin_peers_free(admin->peers);
    admin_asked_free(admin->asked);
    admin_watched_free(admin->watched);
    for (int i = 0; i < ADMIN_KINDS; i++)
        admin_server_free(admin->servers[i]);
    free(admin);
}

/* True: the descriptor has been taken. */
static bool take_descriptor(struct admin *admin, const struct control_message *message,
                            int descriptor)
{
    if (message->type == CONTROL_ADMIN && message->number < ADMIN_KINDS)
        admin_server_listen(admin->servers[message->number], descriptor);
    else if (message->type == CONTROL_PEER && descriptor >= 0)
        admin_peers_add(admin->peers, descriptor);
    else if (message->type == CONTROL_ASKED && descriptor >= 0)
        admin_asked_add(admin->asked, descriptor);
    else
        return false;
    return true;
}

void admin_told(struct admin *admin, const struct control_message *message, int descriptor)
{
    if (take_descriptor(admin, message, descriptor))
        return;
    if (message->type == CONTROL_PEERS)
        admin_peers_forget(admin->peers);
    else
        admin_orders_told(admin, message, descriptor);
    if (descriptor >= 0)
        close(descriptor);
}

void admin_left_alone(struct admin *admin)
{
    admin->is_orphan = true;
    admin_orders_fail(admin, ADMIN_ORPHANED);
}

void admin_stop(struct admin *admin)
{
    admin_orders_fail(admin, ADMIN_STOPPING);
}

void admin_drain(struct admin *admin)
{
    admin_events_end(admin->events, admin->is_orphan ? ADMIN_ORPHANED : "reload");
    for (int i = 0; i < ADMIN_KINDS; i++)
        admin_server_listen(admin->servers[i], -1);
}

bool admin_is_busy(struct admin *admin)
{
    unsigned open = 0;
    for (int i = 0; i < ADMIN_KINDS; i++)
        open += admin_server_connections(admin->servers[i]);
    return open > 0;
}
