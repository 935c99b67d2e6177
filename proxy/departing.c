/* Owned by the master; generation.c adds the helpers of reactors that have ended. */
#include "proxy/departing.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/privileges.h"

struct one {
    pid_t pid;
    const char *what;
    char user[LOGIN_NAME_MAX];
    uint64_t kill_ms; /* UINT64_MAX: it has been killed */
};

struct departing {
    struct one *list;
    size_t count, room;
};

struct departing *departing_new(void)
{
    return calloc(1, sizeof(struct departing));
}

void departing_free(struct departing *departing)
{
    if (!departing)
        return;
    free(departing->list);
    free(departing);
}

static struct one *add(struct departing *departing)
{
    if (departing->count == departing->room) {
        size_t room = departing->room * 2 + 8;
        struct one *list = reallocarray(departing->list, room, sizeof *list);
        if (!list)
            return NULL;
        departing->list = list;
        departing->room = room;
    }
    return &departing->list[departing->count++];
}

void departing_add(struct departing *departing, pid_t pid, const char *what, const char *user,
                   uint64_t patience_ms)
{
    struct one *one = add(departing);
    if (!one) {
        privileges_signal(pid, user, SIGKILL);
        return;
    }
    *one = (struct one){.pid = pid, .what = what, .kill_ms = clock_now_ms() + patience_ms};
    snprintf(one->user, sizeof one->user, "%s", user);
}

bool departing_ended(struct departing *departing, pid_t pid)
{
    for (size_t i = 0; i < departing->count; i++)
        if (departing->list[i].pid == pid) {
            departing->list[i] = departing->list[--departing->count];
            return true;
        }
    return false;
}

static void kill_one(struct one *one)
{
    privileges_signal(one->pid, one->user, SIGKILL);
    one->kill_ms = UINT64_MAX;
}

uint64_t departing_tend(struct departing *departing, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < departing->count; i++) {
        struct one *one = &departing->list[i];
        if (one->kill_ms <= now_ms) {
            log_warning("%s %d does not end: it is killed", one->what, (int)one->pid);
            kill_one(one);
        }
        next_ms = one->kill_ms < next_ms ? one->kill_ms : next_ms;
    }
    return next_ms;
}

void departing_kill(struct departing *departing)
{
    for (size_t i = 0; i < departing->count; i++)
        kill_one(&departing->list[i]);
}

size_t departing_count(const struct departing *departing)
{
    return departing->count;
}
