/*
 * evhttp is given buffer events of which a reference is kept here: one that evhttp has freed
 * has lost its callbacks, and its place is free again. Called by server.c.
 */
#include "proxy/admin/places.h"

#include <sys/socket.h>

void admin_places_add(struct admin_places *places, struct bufferevent *events)
{
    for (size_t i = 0; i < ADMIN_PLACES; i++) {
        if (places->open[i].events)
            continue;
        places->open[i] =
            (struct admin_place){.events = events, .number = ++places->last_number};
        bufferevent_incref(events);
        return;
    }
}

/* evhttp ends the sending of a connection that it is done with; the descriptor is closed here.
 */
static void forget_closed(struct admin_places *places)
{
    for (size_t i = 0; i < ADMIN_PLACES; i++) {
        bufferevent_data_cb on_read, on_write;
        bufferevent_event_cb on_event;
        if (!places->open[i].events)
            continue;
        bufferevent_getcb(places->open[i].events, &on_read, &on_write, &on_event, NULL);
        if (on_read || on_write || on_event)
            continue;
        bufferevent_decref(places->open[i].events);
        places->open[i] = (struct admin_place){0};
    }
}

unsigned admin_places_count(struct admin_places *places)
{
    unsigned count = 0;
    forget_closed(places);
    for (size_t i = 0; i < ADMIN_PLACES; i++)
        count += places->open[i].events != NULL;
    return count;
}

unsigned admin_places_refused(const struct admin_places *places)
{
    unsigned count = 0;
    for (size_t i = 0; i < ADMIN_PLACES; i++)
        count += places->open[i].events && places->open[i].guest == ADMIN_GUEST_REFUSED;
    return count;
}

void admin_places_make_way(const struct admin_places *places)
{
    const struct admin_place *oldest = NULL;
    for (size_t i = 0; i < ADMIN_PLACES; i++) {
        const struct admin_place *each = &places->open[i];
        if (each->events && !each->waits && each->number != places->last_number &&
            (!oldest || each->number < oldest->number))
            oldest = each;
    }
    if (oldest)
        shutdown(bufferevent_getfd(oldest->events), SHUT_RDWR);
}

void admin_places_look(struct admin_places *places, const struct config_admin *config)
{
    for (size_t i = 0; i < ADMIN_PLACES; i++) {
        struct admin_place *each = &places->open[i];
        int fd = each->events ? bufferevent_getfd(each->events) : -1;
        if (fd < 0 || each->guest != ADMIN_GUEST_UNKNOWN)
            continue;
        each->guest = admin_guest_of(fd, config);
        if (each->guest == ADMIN_GUEST_REFUSED)
            shutdown(fd, SHUT_RDWR);
    }
}

struct admin_place *admin_places_find(struct admin_places *places, struct evhttp_request *http)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(http);
    for (size_t i = 0; connection && i < ADMIN_PLACES; i++)
        if (places->open[i].events == evhttp_connection_get_bufferevent(connection))
            return &places->open[i];
    return NULL;
}
