/* The address behind a connection to the figures, against the networks that may read them.
 * Called by server.c once for each connection. */
#include "proxy/admin/guest.h"

#include "proxy/base/log.h"
#include "proxy/statistics.h"

static void refuse(const struct address *client)
{
    char host[ADDRESS_HOST_SIZE];
    struct log_record record;
    address_host(client, host);
    log_begin(&record, LOG_LEVEL_DEBUG, "figures refused");
    log_text(&record, "client", host);
    log_end(&record);
    statistics_add(&statistics->figures_refused, 1);
}

enum admin_guest admin_guest_of(int fd, const struct config_admin *config)
{
    struct address client;
    if (!address_of_peer(fd, &client))
        return ADMIN_GUEST_REFUSED;
    if (address_is_loopback(&client))
        return ADMIN_GUEST_LOCAL;
    if (networks_contain(config->allow.network, config->allow.count, &client))
        return ADMIN_GUEST_ALLOWED;
    refuse(&client);
    return ADMIN_GUEST_REFUSED;
}
