/*
 * A generation that goes on while its master becomes another program: what the next program is
 * told of its processes, and the generation that this program makes of that. It serves until
 * the next one is ready, and for as long as none is.
 */
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/generation_internal.h"
#include "proxy/opener_settings.h"
#include "proxy/statistics_memory.h"

/* "reactor 81 12 1 0 1 84 82 83": process, control socket, CONTROL_VERSION, index, whether it
 * is ready, the opener, and each auth worker; 0: it does not run. */
void generation_describe(const struct generation *generation, FILE *out)
{
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        const struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->process.pid <= 0 || reactor->control < 0)
            continue;
        fprintf(out, "reactor %d %d %u %u %d %d", (int)reactor->process.pid, reactor->control,
                CONTROL_VERSION, i, reactor->ready, (int)reactor->opener.pid);
        for (unsigned j = 0; j < generation->config->auth.workers; j++)
            fprintf(out, " %d", (int)reactor->workers[j].pid);
        fputc('\n', out);
    }
}

void generation_describe_helpers(const struct generation *generation, FILE *out)
{
    const struct config *config = generation->config;
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        const struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->opener.pid > 0)
            departing_describe_one(out, reactor->opener.pid, reactor->process.pid,
                                   config->user);
        for (unsigned j = 0; j < config->auth.workers; j++)
            if (reactor->workers[j].pid > 0)
                departing_describe_one(out, reactor->workers[j].pid, reactor->process.pid,
                                       config->auth.user);
    }
}

/* A decimal number and the blank after it; -1: there is none. */
static long take_number(const char **words)
{
    char *end;
    long number = strtol(*words, &end, 10);
    if (end == *words || number < 0 || number > INT32_MAX)
        return -1;
    *words = end;
    return number;
}

static struct child living(pid_t pid, bool needed)
{
    return (struct child){.pid = pid,
                          .started_ms = clock_now_ms(),
                          .restart_ms = pid > 0 || !needed ? UINT64_MAX : 0};
}

static bool adopt_reactor(struct generation *generation, const char *words)
{
    const struct config *config = generation->config;
    long pid = take_number(&words), control = take_number(&words),
         version = take_number(&words), index = take_number(&words),
         ready = take_number(&words), opener = take_number(&words);
    if (pid <= 1 || version != CONTROL_VERSION || index < 0 || opener < 0 ||
        (unsigned long)index >= generation->reactor_count ||
        generation->reactors[index].process.pid > 0 || !former_is_control((int)control))
        return false;
    struct reactor_child *reactor = &generation->reactors[index];
    for (unsigned i = 0; i < config->auth.workers; i++) {
        long worker = take_number(&words);
        if (worker < 0)
            return false;
        reactor->workers[i] = living((pid_t)worker, true);
    }
    reactor->process = living((pid_t)pid, true);
    reactor->opener = living((pid_t)opener, opener_needed(config));
    reactor->control = (int)control;
    reactor->statistics = statistics_place_of((pid_t)pid);
    reactor->ready = ready == 1;
    return *words == '\0';
}

/* Its processes are none of its own after all. */
static void disown(struct generation *generation)
{
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        reactor->process.pid = reactor->opener.pid = 0;
        reactor->control = -1;
        reactor->statistics = STATISTICS_NO_PLACE;
        for (unsigned j = 0; reactor->workers && j < generation->config->auth.workers; j++)
            reactor->workers[j].pid = 0;
    }
}

struct generation *generation_adopt(const struct generation_environment *environment,
                                    struct config *config, char *const *reactors, size_t count)
{
    struct generation *generation = generation_new(environment, config);
    if (!generation)
        return NULL;
    bool good = generation_make_places(generation);
    for (size_t i = 0; i < count && good; i++)
        good = adopt_reactor(generation, reactors[i]);
    if (good) {
        generation->accepting = generation->served = true;
        return generation;
    }
    disown(generation);
    generation_free(generation);
    return NULL;
}

void generation_has_returned(struct generation *generation)
{
    generation->news = true;
}
