/*
 * From one program to the next, as the master sees it: what is handed on, what was taken over,
 * and the reactors of the former program, which are children still and finish their sessions.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/log.h"
#include "proxy/base/log_file.h"
#include "proxy/master_internal.h"
#include "proxy/privileges.h"
#include "proxy/statistics_memory.h"
#include "proxy/supervisor.h"

/* Addresses, users and pairs of them that are remembered: 2 MiB, as far as they are in use. */
#define TALLY_PLACES (128 * 1024)

/* One that counts other things begins anew. */
static bool share_statistics(const struct upgrade_estate *estate)
{
    pid_t living[2 * UPGRADE_PROCESSES];
    if (estate->statistics < 0 || !statistics_adopt(estate->statistics))
        return statistics_share();
    for (size_t i = 0; i < estate->former_count; i++)
        living[i] = estate->former[i].pid;
    for (size_t i = 0; i < estate->reactor_count; i++)
        living[estate->former_count + i] = (pid_t)atoi(estate->reactors[i]);
    statistics_keep(living, estate->former_count + estate->reactor_count);
    return true;
}

/* They end when they have finished their sessions, as those of earlier generations. */
static void make_former(struct master *master, const struct upgrade_estate *estate)
{
    for (size_t i = 0; i < estate->reactor_count; i++) {
        struct former *former = &master->former[master->former_count];
        if (master->former_count == UPGRADE_PROCESSES ||
            !former_take(former, estate->reactors[i]))
            continue;
        former_tell(former, CONTROL_DRAIN, 1);
        master->former_count++;
    }
}

static void use_log(const struct config *config)
{
    if (config->log.destination != LOG_TO_FILE || master_open_log(config))
        log_configure(&config->log);
}

/* The generation that the former program has left goes on until the next one serves. */
static void adopt(struct master *master, struct upgrade_estate *estate)
{
    struct config *config = NULL;
    if (estate->configuration >= 0)
        config = config_load_copy(master->path, estate->configuration);
    if (config) {
        use_log(config);
        statistics_name(config);
        snprintf(master->user, sizeof master->user, "%s", config->user);
        master->serving = generation_adopt(&master->environment, config, estate->reactors,
                                           estate->reactor_count);
    }
    if (!master->serving && estate->reactor_count > 0) {
        log_warning("upgrade: the reactors of the former program cannot go on: they finish "
                    "their sessions");
        make_former(master, estate);
    }
    for (size_t i = 0; i < estate->reactor_count; i++)
        free(estate->reactors[i]);
}

/* New, or what another program has left. */
bool master_make_environment(struct master *master)
{
    struct upgrade_estate estate = {.listeners = master->listeners,
                                    .controls = master->controls,
                                    .departing = departing_new(),
                                    .statistics = -1,
                                    .configuration = -1,
                                    .log = {-1, -1}};
    if (!estate.departing)
        return false;
    bool upgraded = upgrade_take_over(&estate);
    if (!estate.tally)
        estate.tally = tally_new(TALLY_PLACES);
    if (!estate.permits)
        estate.permits = permits_new();
    if (!estate.tally || !estate.permits ||
        (estate.log[0] < 0 &&
         socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, estate.log) < 0))
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
        .departing = estate.departing,
        .log = estate.log[1],
    };
    if (!master->environment.ticket_periods)
        return false;
    adopt(master, &estate);
    return upgraded || listeners_adopt(master->listeners);
}

/* Ending generations lose their master; the one that serves does, if the next program cannot
 * adopt it. */
static void leave(const struct master *master, struct upgrade_estate *estate,
                  enum upgrade_verdict verdict)
{
    for (size_t i = 0; i < master->ending_count; i++)
        generation_leave(master->ending[i]);
    if (verdict == UPGRADE_ADOPTS || !master->serving)
        return;
    estate->serving = NULL;
    estate->former_count +=
        generation_list(master->serving, estate->former + estate->former_count,
                        UPGRADE_PROCESSES - estate->former_count);
    generation_leave(master->serving);
}

bool master_upgrade(struct master *master)
{
    if ((!master->serving && !master->succeeds) || master->starting || master->stopping) {
        log_notice("no upgrade while something else is under way");
        return false;
    }
    struct upgrade_estate estate = {
        .listeners = master->listeners,
        .tally = master->environment.tally,
        .permits = master->environment.permits,
        .controls = master->controls,
        .departing = master->environment.departing,
        .serving = master->serving,
        .ending = master->ending,
        .ending_count = master->ending_count,
        .refusing = master->environment.refusing,
        .statistics = statistics_descriptor(),
        .log = {master->log, master->environment.log},
        .former_count = master->former_count,
    };
    memcpy(estate.former, master->former, sizeof master->former);
    for (size_t i = 0; i < master->ending_count; i++)
        estate.former_count +=
            generation_list(master->ending[i], estate.former + estate.former_count,
                            UPGRADE_PROCESSES - estate.former_count);
    enum upgrade_verdict verdict = upgrade_check(&estate);
    if (verdict == UPGRADE_REFUSED)
        return false;
    supervisor_reloading();
    leave(master, &estate, verdict);
    upgrade_become(&estate);
    supervisor_ready();
    return verdict == UPGRADE_DRAINS;
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
            departing_owner_ended(master->environment.departing, pid);
            statistics_leave(pid);
            log_info("reactor %d of the former program has ended", (int)pid);
            return;
        }
}
