/*
 * A reactor's part in administration: takes what the master sends for it, and owns the two HTTP
 * servers, which have sockets in one reactor of all only.
 */
#include "proxy/admin/admin.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/admin/internal.h"

struct admin *admin_new(struct service *service, const struct contexts *contexts,
                        struct upstream *const *upstreams)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return NULL;
    *admin = (struct admin){.service = service, .contexts = contexts, .upstreams = upstreams};
    for (int i = 0; i < ADMIN_KINDS; i++) {
        admin->servers[i] = admin_server_new(service->base, (enum admin_kind)i, admin);
        if (!admin->servers[i]) {
            admin_free(admin);
            return NULL;
        }
    }
    return admin;
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    for (int i = 0; i < ADMIN_KINDS; i++)
        admin_server_free(admin->servers[i]);
    free(admin);
}

void admin_told(struct admin *admin, const struct control_message *message, int descriptor)
{
    if (message->type == CONTROL_ADMIN && message->number < ADMIN_KINDS) {
        admin_server_listen(admin->servers[message->number], descriptor);
        return;
    }
    if (descriptor >= 0)
        close(descriptor);
}

void admin_drain(struct admin *admin)
{
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
