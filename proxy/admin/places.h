/*
 * The connections of an administration server: a few places, as evhttp has no
 * limit of its own. When all are taken, the oldest connection gives way that
 * does not wait for an answer; one whose other end may not ask is shut down
 * before it is read from.
 */
#ifndef POSTERN_ADMIN_PLACES_H
#define POSTERN_ADMIN_PLACES_H

#include <event2/bufferevent.h>
#include <event2/http.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/admin/guest.h"

#define ADMIN_PLACES 16u

/* All zero: nobody is there. */
struct admin_places {
    struct admin_place {
        struct bufferevent *events; /* NULL: free */
        enum admin_guest guest;
        uint64_t number; /* in the order of their coming */
        bool waits;      /* for an answer that is being made */
    } open[ADMIN_PLACES];
    uint64_t last_number;
};

/* Gives a new connection a place, if there is one, and keeps a reference to it. Until evhttp
 * has set its callbacks it looks like one that evhttp has freed. */
void admin_places_add(struct admin_places *places, struct bufferevent *events);

/* Frees the places of connections that evhttp has freed. Returns how many are left. */
unsigned admin_places_count(struct admin_places *places);

/* How many are refused, and not gone yet. */
unsigned admin_places_refused(const struct admin_places *places);

/* Shuts the oldest connection down that does not wait for an answer, but not the youngest.
 * evhttp finds it at its end. */
void admin_places_make_way(const struct admin_places *places);

/* Looks at the other ends of the connections that have come since the last time, and shuts down
 * those that may not ask. */
void admin_places_look(struct admin_places *places, const struct config_admin *config);

/* The place of a request's connection; NULL: it has none. */
struct admin_place *admin_places_find(struct admin_places *places, struct evhttp_request *http);

#endif
