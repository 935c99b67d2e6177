/*
 * A generation in the service of administration: which reactor has its sockets, which know each
 * other, and which wait to hear of a reload.
 */
#include <unistd.h>

#include "proxy/generation_internal.h"

void generation_take_charge(const struct generation *generation,
                            const struct admin_sockets *sockets)
{
    const struct reactor_child *first = &generation->reactors[0];
    for (uint32_t i = 0; i < ADMIN_KINDS; i++)
        generation_tell_one(first, CONTROL_ADMIN, i,
                            admin_sockets_descriptor(sockets, (enum admin_kind)i));
}

void generation_forget_peers(const struct generation *in_charge)
{
    generation_tell_one(&in_charge->reactors[0], CONTROL_PEERS, 0, -1);
}

void generation_add_peer(const struct generation *in_charge, int socket)
{
    generation_tell_one(&in_charge->reactors[0], CONTROL_PEER, 0, socket);
}

void generation_introduce(const struct generation *generation,
                          const struct generation *in_charge)
{
    const struct reactor_child *asker = &in_charge->reactors[0];
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        const struct reactor_child *asked = &generation->reactors[i];
        int pair[2];
        if (asked == asker || !asked->ready || asked->control < 0 || !control_pair(pair))
            continue;
        generation_add_peer(in_charge, pair[0]);
        generation_tell_one(asked, CONTROL_ASKED, 0, pair[1]);
        close(pair[0]);
        close(pair[1]);
    }
}

bool generation_has_first(const struct generation *generation)
{
    return generation->reactors[0].process.pid > 0;
}

bool generation_has_news(struct generation *generation)
{
    bool news = generation->news;
    generation->news = false;
    return news;
}

void generation_begin_reload(struct generation *generation)
{
    for (unsigned i = 0; i < generation->reactor_count; i++)
        if (generation->reactors[i].reload == RELOAD_ASKED)
            generation->reactors[i].reload = RELOAD_UNDER_WAY;
}

void generation_end_reload(struct generation *generation, bool done, int report)
{
    for (unsigned i = 0; i < generation->reactor_count; i++) {
        struct reactor_child *reactor = &generation->reactors[i];
        if (reactor->reload != RELOAD_UNDER_WAY)
            continue;
        reactor->reload = RELOAD_NOT_ASKED;
        generation_tell_one(reactor, CONTROL_RELOADED, done, report);
    }
}
