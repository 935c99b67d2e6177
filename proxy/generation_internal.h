/* A generation's struct, shared by generation.c, generation_admin.c and generation_upgrade.c
 * only. */
#ifndef POSTERN_GENERATION_INTERNAL_H
#define POSTERN_GENERATION_INTERNAL_H

#include "proxy/contexts.h"
#include "proxy/generation.h"
#include "proxy/reactor_child.h"

struct generation {
    const struct generation_environment *environment;
    struct config *config;
    struct contexts *contexts; /* NULL: it was adopted, and has started no reactor since */
    unsigned reactor_count;
    struct reactor_child *reactors;
    uint64_t kill_ms; /* when it should have stopped; UINT64_MAX: nothing is to be killed */
    uint64_t last_ms; /* kill_ms is never put off beyond this */
    bool accepting;   /* told to */
    bool ending;
    bool served; /* all reactors have been ready once */
    bool failed; /* a reactor ended before that */
    bool news;   /* a reactor has become ready */
};

/* `descriptor`: -1: none. What cannot be told is logged. */
void generation_tell_one(const struct reactor_child *reactor, enum control_type type,
                         uint32_t number, int descriptor);

/* Without processes; owns `config`, also when it fails (NULL: no memory). */
MUST_USE struct generation *generation_new(const struct generation_environment *environment,
                                           struct config *config);
/* Room for its reactors and their auth workers, none of which runs. False: no memory. */
MUST_USE bool generation_make_places(struct generation *generation);

#endif
