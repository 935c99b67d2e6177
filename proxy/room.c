/*
 * Called by the acceptor and by a backend's opening. What has ended already gives its
 * descriptor first: a stream that only waits for the other side to close.
 */
#include "proxy/room.h"

#include <errno.h>

#include "proxy/connections.h"
#include "proxy/session.h"
#include "proxy/statistics.h"

/* A client whose message may have been accepted would send it again. */
static bool awaits_verdict(struct connection *connection)
{
    return session_awaits_verdict(session_of(connection));
}

/* The session that a descriptor is needed for is one of those that open. */
static bool is_needed(struct connection *connection)
{
    return awaits_verdict(connection) || session_is_opening(session_of(connection));
}

static bool give_way(struct service *service, bool (*spared)(struct connection *connection))
{
    struct connection *oldest = connections_oldest(service->connections, spared);
    if (!oldest)
        return false;
    statistics_add(&statistics->limits[STATISTICS_LIMIT_GAVE_WAY], 1);
    session_abort(session_of(oldest), REPLY_GIVE_WAY, "gave way to a new connection");
    return true;
}

bool room_make(struct service *service)
{
    return give_way(service, awaits_verdict);
}

bool room_free_descriptor(struct service *service)
{
    if (stream_loop_close_finishing(service->streams))
        return true;
    if (!give_way(service, is_needed))
        return false;
    (void)stream_loop_close_finishing(service->streams);
    return true;
}

bool room_is_lacking(int error)
{
    return error == EMFILE || error == ENFILE;
}
