/*
 * Who may send without AUTH, because the postmaster has said so of their address: asked by
 * dialogue.c at a first MAIL, and at each by the relay. They have a login like anybody else, so
 * that the backend hears it, the log has it, and the limits of a login hold.
 */
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/base/slab.h"
#include "proxy/permits.h"
#include "proxy/session_internal.h"

/* Whose session it would be now; false: nobody's. */
static bool find_login(const struct session *session, char out[static PERMIT_USER_SIZE])
{
    struct permit permit;
    char host[ADDRESS_HOST_SIZE];
    if (!permits_find(session->service->permits, PERMIT_ALLOW, &session->client_address,
                      clock_now_ms(), &permit))
        return false;
    address_host(&session->client_address, host);
    strcpy(out, *permit.user ? permit.user : host);
    return true;
}

bool permission_take(struct session *session)
{
    char login[PERMIT_USER_SIZE];
    if (!find_login(session, login))
        return false;
    session->login = slab_text(login, strlen(login));
    session->is_permitted = session->login != NULL;
    return session->is_permitted;
}

enum reply permission_judge(const struct session *session)
{
    char login[PERMIT_USER_SIZE];
    if (!find_login(session, login))
        return REPLY_AUTH_FIRST;
    return strcmp(login, session->login) == 0 ? REPLY_NONE : REPLY_ENDED_BY_POSTMASTER;
}
