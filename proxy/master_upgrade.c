/*
 * From one program to the next, as the master sees it: what is handed on, what was taken over,
 * and the reactors of the former program, which are children still and finish their sessions.
 */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/log.h"
#include "proxy/failures.h"
#include "proxy/master_internal.h"
#include "proxy/privileges.h"
#include "proxy/statistics_memory.h"
#include "proxy/supervisor.h"

/* Addresses, users and pairs of them that are remembered: 2 MiB, as far as they are in use. */
#define TALLY_PLACES (128 * 1024)

/* One that counts other things begins anew. */
static bool share_statistics(const struct upgrade_estate *estate)
{
    pid_t living[UPGRADE_PROCESSES];
    if (!failures_share())
        return false;
    if (estate->statistics < 0 || !statistics_adopt(estate->statistics))
        return statistics_share();
    for (size_t i = 0; i < estate->former_count; i++)
        living[i] = estate->former[i].pid;
    statistics_keep(living, estate->former_count);
    return true;
}

/* New, or what another program has left. */
bool master_make_environment(struct master *master)
{
    struct upgrade_estate estate = {.listeners = master->listeners,
                                    .controls = master->controls,
                                    .statistics = -1,
                                    .log = {-1, -1}};
    bool upgraded = upgrade_take_over(&estate);
    if (!estate.tally)
        estate.tally = tally_new(TALLY_PLACES);
    if (!estate.permits)
        estate.permits = permits_new();
    if (!estate.tally || !estate.permits ||
        (estate.log[0] < 0 &&
         socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, estate.log) < 0))
        return false;
    memcpy(master->former, estate.former, sizeof master->former);
    master->former_count = estate.former_count;
    if (!share_statistics(&estate))
        return false;
    master->log = estate.log[0];
    log_set_children_output(estate.log[1]);
    master->environment = (struct generation_environment){
        .listeners = master->listeners,
        .tally = estate.tally,
        .permits = estate.permits,
        .refusing = estate.refusing,
        .ticket_periods = ticket_periods_new(),
        .departing = departing_new(),
        .log = estate.log[1],
    };
    return master->environment.ticket_periods && master->environment.departing &&
           (upgraded || listeners_adopt(master->listeners));
}

/* What the next program takes over; the reactors stop accepting, and finish their sessions. */
bool master_upgrade(struct master *master)
{
    if (!master->serving || master->starting || master->stopping) {
        log_notice("no upgrade while something else is under way");
        return false;
    }
    if (!upgrade_check())
        return false;
    supervisor_reloading();
    struct upgrade_estate estate = {
        .listeners = master->listeners,
        .tally = master->environment.tally,
        .permits = master->environment.permits,
        .controls = master->controls,
        .refusing = master->environment.refusing,
        .statistics = statistics_descriptor(),
        .log = {master->log, master->environment.log},
        .former_count = master->former_count,
    };
    memcpy(estate.former, master->former, sizeof master->former);
    for (size_t i = 0; i <= master->ending_count; i++) {
        struct generation *each = i == 0 ? master->serving : master->ending[i - 1];
        estate.former_count += generation_list(each, estate.former + estate.former_count,
                                               UPGRADE_PROCESSES - estate.former_count);
        generation_leave(each);
    }
    upgrade_become(&estate);
    return true;
}

void master_signal_former(const struct master *master, int number)
{
    for (size_t i = 0; i < master->former_count; i++)
        privileges_signal(master->former[i].pid, master->user, number);
}

/* A reactor of the former program's has finished its sessions. */
void master_forget_former(struct master *master, pid_t pid)
{
    for (size_t i = 0; i < master->former_count; i++)
        if (master->former[i].pid == pid) {
            former_close(&master->former[i]);
            master->former[i] = master->former[--master->former_count];
            statistics_leave(pid);
            log_info("reactor %d of the former program has ended", (int)pid);
            return;
        }
}
