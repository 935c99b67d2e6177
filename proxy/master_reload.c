/*
 * From one configuration to the next: what is new is read, checked and made ready beside what
 * serves, and takes its place when nothing can go wrong any more; until then a fault leaves all
 * as it was (promise 10).
 */
#include <stdlib.h>

#include "proxy/administration.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/log_file.h"
#include "proxy/descriptors.h"
#include "proxy/host.h"
#include "proxy/master_internal.h"
#include "proxy/privileges.h"
#include "proxy/statistics_memory.h"
#include "proxy/supervisor.h"

/* Each connection may become a session with a backend's socket. What postmasters find out too
 * late is said at once, and again only where it has changed. */
static void fit_connections(struct config *config)
{
    static unsigned told;
    unsigned have = privileges_raise_descriptors();
    unsigned carried = descriptors_carry(config, have);
    unsigned wanted = config->limits.connections;
    if (wanted <= carried) {
        told = 0;
        return;
    }
    config->limits.connections = carried;
    if (told != carried)
        log_warning("limits: connections = %u needs %llu descriptors, but only %u may be open: "
                    "%u connections are served at once by each reactor",
                    wanted, (unsigned long long)descriptors_needed(config, wanted), have,
                    carried);
    told = carried;
}

bool master_open_log(const struct config *config)
{
    char where[CONFIG_WHERE_SIZE];
    return log_file_use(config->log_file, config_where(config, "log", NULL, "file", where));
}

bool master_start(struct master *master, struct config *config)
{
    config_advise(config);
    if (!host_check(config, true) || !administration_open(master->administration, config) ||
        !listeners_open(master->listeners, config)) {
        config_free(config);
        return false;
    }
    if (config->log.destination == LOG_TO_FILE && !master_open_log(config)) {
        config_free(config);
        return false;
    }
    log_configure(&config->log);
    fit_connections(config);
    statistics_name(config);
    master->starting = generation_start(&master->environment, config);
    return master->starting != NULL;
}

struct generations {
    struct generation *list[GENERATIONS + 3];
    struct administration_view view;
};

static const struct administration_view *all(struct master *master,
                                             struct generations *generations)
{
    size_t count = 0;
    generations->list[count++] = master->serving;
    generations->list[count++] = master->starting;
    for (size_t i = 0; i < master->ending_count; i++)
        generations->list[count++] = master->ending[i];
    generations->view = (struct administration_view){generations->list, count, master->former,
                                                     master->former_count};
    return &generations->view;
}

static void begin_report(struct master *master)
{
    struct generations generations;
    administration_begin_reload(master->administration, all(master, &generations));
}

static void tell_of_reload(struct master *master, bool done)
{
    struct generations generations;
    administration_end_reload(master->administration, all(master, &generations), done);
}

static void return_to_log(const struct master *master)
{
    const struct config *config = generation_config(master->serving);
    if (master->log_before.destination == LOG_TO_FILE && !master_open_log(config))
        log_warning("log: file: what has been opened for the reload stays in use");
    log_configure(&master->log_before);
}

/* Says that all is as it was, which in an upgrade is what the former program has left. */
static void tell_of_failure(struct master *master)
{
    if (!master->serving)
        log_error("upgrade refused: nothing serves until %s is good, which is tried again "
                  "every %d seconds; connections wait",
                  master->path, MASTER_RETRY_MS / 1000);
    else if (master->upgrading)
        log_error("upgrade refused: the processes of the former program go on; when %s is "
                  "good, reload",
                  master->path);
    else
        log_error("reload refused: the configuration that was running stays as it was");
}

static void reload_failed(struct master *master)
{
    generation_free(master->starting);
    master->starting = NULL;
    if (master->serving)
        return_to_log(master);
    else
        master->retry_ms = clock_now_ms() + MASTER_RETRY_MS;
    listeners_trim(master->listeners,
                   master->serving ? generation_config(master->serving) : NULL);
    administration_settle(master->administration, false);
    if (master->upgrading && master->serving)
        generation_has_returned(master->serving);
    else
        statistics_add(&statistics->reloads[STATISTICS_RELOAD_REFUSED], 1);
    tell_of_reload(master, false);
    tell_of_failure(master);
    master->upgrading = false;
    supervisor_ready();
}

/* Sessions that never end keep nobody from reloading: the oldest go first. */
static bool has_place(struct master *master)
{
    if (master->ending_count < GENERATIONS)
        return true;
    if (!master->making_place) {
        log_notice("the reload waits: ending the oldest sessions, as reactors of %d earlier "
                   "reloads are left",
                   GENERATIONS);
        generation_stop(master->ending[0], false);
        master->making_place = true;
    }
    return false;
}

void master_reload(struct master *master)
{
    master->reload_again = true;
    if (master->starting) {
        log_notice("the reload waits for an earlier one");
        return;
    }
    if (!has_place(master))
        return;
    supervisor_reloading();
    if (!master->upgrading)
        log_notice("reloading");
    master->reload_again = false;
    master->retry_ms = UINT64_MAX;
    begin_report(master);
    master->log_before = *log_options();
    struct config *config = config_load(master->path);
    if (!config || !master_start(master, config))
        reload_failed(master);
}

/* The new ones accept before the old ones no longer do. False: one of the sockets is not to be
 * had after all. */
static bool begin_serving(struct master *master)
{
    if (!listeners_begin(master->listeners))
        return false;
    generation_accept(master->starting);
    if (master->serving) {
        generation_drain(master->serving);
        master->ending[master->ending_count++] = master->serving;
    }
    bool is_reload = master->serving && !master->upgrading;
    const char *what = is_reload ? "reloaded" : "serving";
    statistics_add(&statistics->reloads[STATISTICS_RELOAD_DONE], is_reload);
    master->upgrading = false;
    master->serving = master->starting;
    master->starting = NULL;
    listeners_trim(master->listeners, generation_config(master->serving));
    administration_settle(master->administration, true);
    tell_of_reload(master, true);
    log_notice("%s: %s", what, generation_config(master->serving)->path);
    supervisor_ready();
    return true;
}

static void start_failed(struct master *master)
{
    if (master->serving || master->succeeds) {
        reload_failed(master);
        return;
    }
    generation_free(master->starting);
    master->starting = NULL;
    master->status = EXIT_FAILURE;
}

/* What has become of the generations: ready, failed, ended. */
static void review_generations(struct master *master)
{
    size_t kept = 0;
    for (size_t i = 0; i < master->ending_count; i++) {
        if (generation_state(master->ending[i]) != GENERATION_ENDED) {
            master->ending[kept++] = master->ending[i];
            continue;
        }
        if (master->in_charge == master->ending[i])
            master->in_charge = NULL;
        generation_free(master->ending[i]);
    }
    master->ending_count = kept;
    master->making_place &= kept == GENERATIONS;

    if (!master->starting)
        return;
    enum generation_state state = generation_state(master->starting);
    if (state == GENERATION_ENDED || (state == GENERATION_SERVING && !begin_serving(master)))
        start_failed(master);
}

void master_review(struct master *master)
{
    struct generations generations;
    review_generations(master);
    if (master->stopping)
        master_review_stop(master);
    administration_review(master->administration, all(master, &generations));
    master->reload_again |= administration_wants_reload(master->administration) ||
                            master->retry_ms <= clock_now_ms();
    if (master->reload_again && !master->starting && !master->stopping)
        master_reload(master);
}
