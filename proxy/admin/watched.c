/*
 * The log's watcher of a reactor: while at least one other end is open, each event becomes a
 * datagram for each of them. What a full socket has no room for is counted, and the next
 * datagram says how many that were. Called by asked.c and events.c; never logs while it passes
 * an event on.
 */
#include "proxy/admin/watched.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/admin/message.h"
#include "proxy/base/log.h"

/* Who may watch: the serving generation's first reactor, and for a moment those before it. */
#define WATCHERS 4

struct watcher {
    struct admin_watched *owner;
    int fd; /* -1: free */
    uint32_t serial;
    uint32_t lost;
    struct event ended;
};

struct admin_watched {
    struct event_base *base;
    struct watcher watchers[WATCHERS];
    unsigned next;
};

static void pass_on(void *context, const struct log_event *event);

/* The log is watched only while there is somebody. */
static void set_log_watcher(struct admin_watched *watched)
{
    bool any = false;
    for (int i = 0; i < WATCHERS; i++)
        any |= watched->watchers[i].fd >= 0;
    log_set_watcher(any ? pass_on : NULL, watched);
}

static void drop(struct watcher *watcher)
{
    if (watcher->fd < 0)
        return;
    event_del(&watcher->ended);
    close(watcher->fd);
    watcher->fd = -1;
}

/* Nothing is ever sent to us: the other end is closed. */
static void on_ended(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct watcher *watcher = argument;
    drop(watcher);
    set_log_watcher(watcher->owner);
}

static void send_to(struct watcher *watcher, struct admin_event *out)
{
    size_t length = ADMIN_EVENT_HEAD + out->length;
    out->lost = watcher->lost;
    if (send(watcher->fd, out, length, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length)
        watcher->lost = 0;
    else
        watcher->lost++;
}

static void pass_on(void *context, const struct log_event *event)
{
    struct admin_watched *watched = context;
    static struct admin_event out;
    out.version = ADMIN_MESSAGE_VERSION;
    out.length = (uint32_t)event->length;
    admin_message_put(out.name, sizeof out.name, event->name);
    admin_message_put(out.user, sizeof out.user, event->user);
    admin_message_put(out.client, sizeof out.client, event->client);
    memcpy(out.line, event->line, event->length);
    for (int i = 0; i < WATCHERS; i++)
        if (watched->watchers[i].fd >= 0)
            send_to(&watched->watchers[i], &out);
}

struct admin_watched *admin_watched_new(struct event_base *base)
{
    struct admin_watched *watched = calloc(1, sizeof *watched);
    for (int i = 0; watched && i < WATCHERS; i++)
        watched->watchers[i] = (struct watcher){.owner = watched, .fd = -1};
    if (watched)
        watched->base = base;
    return watched;
}

void admin_watched_free(struct admin_watched *watched)
{
    if (!watched)
        return;
    for (int i = 0; i < WATCHERS; i++)
        drop(&watched->watchers[i]);
    log_set_watcher(NULL, NULL);
    free(watched);
}

/* The one with this number; or else a free one, or the one that has been there longest. */
static struct watcher *find_place(struct admin_watched *watched, uint32_t serial)
{
    for (int i = 0; i < WATCHERS; i++)
        if (watched->watchers[i].fd >= 0 && watched->watchers[i].serial == serial)
            return &watched->watchers[i];
    for (int i = 0; i < WATCHERS; i++)
        if (watched->watchers[i].fd < 0)
            return &watched->watchers[i];
    return &watched->watchers[watched->next++ % WATCHERS];
}

void admin_watched_add(struct admin_watched *watched, uint32_t serial, int fd)
{
    struct watcher *watcher = find_place(watched, serial);
    drop(watcher);
    watcher->fd = fd;
    watcher->serial = serial;
    watcher->lost = 0;
    event_assign(&watcher->ended, watched->base, fd, EV_READ | EV_PERSIST, on_ended, watcher);
    event_add(&watcher->ended, NULL);
    set_log_watcher(watched);
}
