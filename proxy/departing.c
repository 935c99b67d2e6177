/* Owned by the master; generation.c adds the helpers of reactors that have ended. */
#include "proxy/departing.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/privileges.h"

/* What another program has started, an opener with its last program perhaps. */
#define HELPER        "helper"
#define HELPER_END_MS 12000
/* Enough to end the programs of an opener, of which nothing else would be the end. */
#define HURRIED_END_MS 1000

struct one {
    pid_t pid;
    pid_t owner; /* its reactor, if that lives; or 0 */
    const char *what;
    bool may_be_opener; /* with programs to end */
    char user[LOGIN_NAME_MAX];
    uint64_t kill_ms; /* UINT64_MAX: it has been killed, or its reactor lives */
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

/* False: no memory. */
static bool put(struct departing *departing, const struct one *wanted, const char *user)
{
    struct one *one = add(departing);
    if (!one)
        return false;
    *one = *wanted;
    snprintf(one->user, sizeof one->user, "%s", user);
    return true;
}

static void put_ended(struct departing *departing, struct one ended, const char *user,
                      uint64_t patience_ms)
{
    ended.kill_ms = clock_now_ms() + patience_ms;
    if (!put(departing, &ended, user))
        privileges_signal(ended.pid, user, SIGKILL);
}

void departing_add_worker(struct departing *departing, pid_t pid, const char *user,
                          uint64_t patience_ms)
{
    struct one worker = {.pid = pid, .what = "auth worker"};
    put_ended(departing, worker, user, patience_ms);
}

void departing_add_opener(struct departing *departing, pid_t pid, const char *user,
                          uint64_t patience_ms)
{
    struct one opener = {.pid = pid, .what = "opener", .may_be_opener = true};
    put_ended(departing, opener, user, patience_ms);
}

void departing_await(struct departing *departing, pid_t pid, pid_t owner, const char *user)
{
    struct one helper = {.pid = pid,
                         .owner = owner,
                         .what = HELPER,
                         .may_be_opener = true,
                         .kill_ms = UINT64_MAX};
    /* Without memory it ends with its reactor, unless it does not react. */
    (void)put(departing, &helper, user);
}

void departing_owner_ended(struct departing *departing, pid_t owner)
{
    for (size_t i = 0; i < departing->count; i++)
        if (departing->list[i].owner == owner) {
            departing->list[i].owner = 0;
            departing->list[i].kill_ms = clock_now_ms() + HELPER_END_MS;
        }
}

void departing_describe_one(FILE *out, pid_t pid, pid_t owner, const char *user)
{
    fprintf(out, "helper %d %d %s\n", (int)pid, (int)owner, *user ? user : "-");
}

void departing_describe(const struct departing *departing, FILE *out)
{
    for (size_t i = 0; i < departing->count; i++) {
        const struct one *one = &departing->list[i];
        departing_describe_one(out, one->pid, one->owner, one->user);
    }
}

bool departing_inherit(struct departing *departing, const char *words)
{
    int pid, owner;
    char user[LOGIN_NAME_MAX + 1] = "";
    _Static_assert(LOGIN_NAME_MAX >= 256, "room for what is read below");
    if (sscanf(words, "%d %d %255s", &pid, &owner, user) != 3 || pid <= 1 || owner < 0)
        return false;
    const char *name = strcmp(user, "-") == 0 ? "" : user;
    struct one ended = {.pid = pid, .what = HELPER, .may_be_opener = true};
    if (owner > 0)
        departing_await(departing, pid, owner, name);
    else
        put_ended(departing, ended, name, HELPER_END_MS);
    return true;
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
            log_warning("%s %d did not end in time: killing it", one->what, (int)one->pid);
            kill_one(one);
        }
        next_ms = one->kill_ms < next_ms ? one->kill_ms : next_ms;
    }
    return next_ms;
}

/* Its reactor is killed as well. */
static void hurry_one(struct one *one)
{
    uint64_t latest_ms = clock_now_ms() + HURRIED_END_MS;
    bool was_killed = one->owner == 0 && one->kill_ms == UINT64_MAX;
    privileges_signal(one->pid, one->user, SIGTERM);
    one->owner = 0;
    if (!was_killed && one->kill_ms > latest_ms)
        one->kill_ms = latest_ms;
}

void departing_hurry(struct departing *departing)
{
    for (size_t i = 0; i < departing->count; i++)
        if (departing->list[i].may_be_opener)
            hurry_one(&departing->list[i]);
        else
            kill_one(&departing->list[i]);
}

size_t departing_count(const struct departing *departing)
{
    return departing->count;
}
