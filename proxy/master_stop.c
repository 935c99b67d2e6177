/*
 * The master's end: everybody is told, and patience has a limit. The reactor that serves the
 * administration interface stays until all others have ended, so that the postmaster sees what
 * is waited for; without it the sockets are closed, and nobody waits for an answer in vain.
 */
#include <signal.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/master_internal.h"
#include "proxy/supervisor.h"

/* How long the master waits for what it has killed; the first is longer than a helper has. */
#define GIVE_UP_AFTER_MS   15000
#define GIVE_UP_AT_ONCE_MS 5000

/* For reactors of the former program, if no configuration is known. */
#define DEFAULT_DRAIN_MS 30000

/* When the last generation is killed. A reactor of the former program cannot say that it waits
 * for the reply to a message: one that is left then is taken to do so. */
static uint64_t latest_kill_ms(const struct master *master)
{
    if (master->ending_count == 0)
        return clock_now_ms() + DEFAULT_DRAIN_MS + GENERATION_KILL_AFTER_MS;
    uint64_t latest_ms = 0, reply_ms = 0;
    for (size_t i = 0; i < master->ending_count; i++) {
        uint64_t each_ms = generation_kill_ms(master->ending[i]);
        latest_ms = each_ms > latest_ms ? each_ms : latest_ms;
        reply_ms = generation_config(master->ending[i])->timeouts.backend_reply_ms;
    }
    return master->former_count > 0 ? latest_ms + reply_ms : latest_ms;
}

/* Helpers of reactors that have ended keep the time that they have been given. */
static void kill_all(struct master *master)
{
    master_each_generation(master, generation_kill);
    master_signal_former(master, SIGKILL);
    master->kill_ms = UINT64_MAX;
    master->give_up_ms = clock_now_ms() + GIVE_UP_AFTER_MS;
}

static void kill_all_now(struct master *master)
{
    kill_all(master);
    departing_hurry(master->environment.departing);
    master->give_up_ms = clock_now_ms() + GIVE_UP_AT_ONCE_MS;
}

void master_stop(struct master *master)
{
    if (master->stopping) {
        log_notice("told a second time to stop: closing all sessions now");
        kill_all_now(master);
        return;
    }
    log_notice("stopping: transactions may finish");
    supervisor_stopping();
    listeners_close(master->listeners);
    master->stopping = true;
    if (master->starting)
        generation_free(master->starting);
    if (master->serving)
        master->ending[master->ending_count++] = master->serving;
    master->in_charge = master->serving;
    master->starting = master->serving = NULL;
    for (size_t i = 0; i < master->ending_count; i++)
        generation_stop(master->ending[i], master->ending[i] == master->in_charge);
    master_signal_former(master, SIGTERM);
    master->kill_ms = latest_kill_ms(master);
    master->give_up_ms = UINT64_MAX;
}

/* Is the reactor in charge the only one that is left? */
static bool all_others_have_ended(const struct master *master)
{
    struct former some[2];
    return master->ending_count == 1 && master->former_count == 0 &&
           generation_list(master->in_charge, some, 2) == 1;
}

void master_review_stop(struct master *master)
{
    bool killed = master->kill_ms == UINT64_MAX;
    if (master->ending_count > 0 && !killed)
        master->kill_ms = latest_kill_ms(master);
    if (clock_now_ms() >= master->kill_ms)
        kill_all(master);
    if (!master->in_charge || !generation_has_first(master->in_charge)) {
        master->in_charge = NULL;
        admin_sockets_close(master->controls);
    } else if (!master->last_has_heard && all_others_have_ended(master)) {
        master->last_has_heard = true;
        generation_stop(master->in_charge, false);
    }
}
