/*
 * Who may send without AUTH, because the postmaster has said so of their address: asked by
 * dialogue.c at a first MAIL. They have a login like anybody else, so that the backend hears
 * it, the log has it, and the limits of a login hold.
 */
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/base/slab.h"
#include "proxy/permits.h"
#include "proxy/session_internal.h"

bool permission_take(struct session *session)
{
    struct permit permit;
    char host[ADDRESS_HOST_SIZE];
    if (!permits_find(session->service->permits, PERMIT_ALLOW, &session->client_address,
                      clock_now_ms(), &permit))
        return false;
    address_host(&session->client_address, host);
    const char *login = *permit.user ? permit.user : host;
    session->login = slab_text(login, strlen(login));
    session->is_permitted = session->login != NULL;
    return session->is_permitted;
}
