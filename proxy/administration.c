/*
 * Wishes are noted when they are heard and carried out at the end of the master's turn, when no
 * generation is being looked at. What is logged during a reload is also kept as text, which
 * reaches a reactor as a file without a name.
 */
#include "proxy/administration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/log_file.h"

/* Of a report; what comes later is left out. */
#define REPORT_SIZE_LIMIT 65536

struct administration {
    struct generation_environment *environment;
    struct admin_sockets *sockets;
    bool reload_wanted;
    bool refusal_changed;
    bool level_wanted;
    bool reopen_wanted;
    enum log_level level;
    int report; /* -1: nothing is collected */
    size_t report_size;
};

static void on_wish(void *context, const struct control_message *message)
{
    struct administration *administration = context;
    switch (message->type) {
    case CONTROL_RELOAD:
        administration->reload_wanted = true;
        break;
    case CONTROL_REFUSE:
        administration->environment->refusing = message->number == 1;
        administration->refusal_changed = true;
        break;
    case CONTROL_LOG_LEVEL:
        administration->level = (enum log_level)message->number;
        administration->level_wanted = true;
        break;
    case CONTROL_REOPEN:
        administration->reopen_wanted = true;
        break;
    default:
        break;
    }
}

struct administration *administration_new(struct generation_environment *environment,
                                          struct admin_sockets *sockets)
{
    struct administration *administration = calloc(1, sizeof *administration);
    if (!administration)
        return NULL;
    administration->environment = environment;
    administration->sockets = sockets;
    administration->report = -1;
    environment->wish = on_wish;
    environment->wish_context = administration;
    return administration;
}

void administration_free(struct administration *administration)
{
    if (!administration)
        return;
    if (administration->report >= 0)
        close(administration->report);
    free(administration);
}

bool administration_open(struct administration *administration, const struct config *config)
{
    return admin_sockets_open(administration->sockets, config);
}

void administration_settle(struct administration *administration, bool keep_new)
{
    admin_sockets_settle(administration->sockets, keep_new);
}

static void tell_all(const struct administration_view *view, enum control_type type,
                     uint32_t number)
{
    for (size_t i = 0; i < view->count; i++)
        if (view->generations[i])
            generation_tell(view->generations[i], type, number);
    for (size_t i = 0; i < view->former_count; i++)
        former_tell(&view->former[i], type, number);
}

static void change_level(const struct administration *administration,
                         const struct administration_view *view)
{
    log_set_level(administration->level);
    log_notice("the level of the log is now %s", log_level_name(administration->level));
    tell_all(view, CONTROL_LOG_LEVEL, administration->level);
}

/* A former program's reactors are not told: they do not know this message, and have not wished
 * for it. */
static void reopen_log(const struct administration_view *view)
{
    enum control_reopened outcome = CONTROL_REOPEN_NONE;
    char where[CONFIG_WHERE_SIZE] = "log: file";
    if (view->generations[0])
        config_where(generation_config(view->generations[0]), "log", NULL, "file", where);
    if (log_options()->destination == LOG_TO_FILE)
        outcome = log_file_reopen(where) ? CONTROL_REOPENED : CONTROL_REOPEN_FAILED;
    for (size_t i = 0; i < view->count; i++)
        if (view->generations[i])
            generation_tell(view->generations[i], CONTROL_REOPEN, outcome);
}

static void bring_together(const struct administration *administration,
                           const struct administration_view *view)
{
    generation_forget_peers(view->generations[0]);
    for (size_t i = 0; i < view->count; i++)
        if (view->generations[i])
            generation_introduce(view->generations[i], view->generations[0]);
    for (size_t i = 0; i < view->former_count; i++)
        former_introduce(&view->former[i], view->generations[0]);
    generation_take_charge(view->generations[0], administration->sockets);
}

void administration_review(struct administration *administration,
                           const struct administration_view *view)
{
    if (administration->refusal_changed) {
        bool refusing = administration->environment->refusing;
        log_notice(refusing ? "draining: new connections are refused"
                            : "resumed: new connections are accepted");
        tell_all(view, CONTROL_REFUSE, refusing);
    }
    if (administration->level_wanted)
        change_level(administration, view);
    if (administration->reopen_wanted)
        reopen_log(view);
    administration->refusal_changed = administration->level_wanted = false;
    administration->reopen_wanted = false;
    if (view->generations[0] && generation_has_news(view->generations[0]))
        bring_together(administration, view);
}

bool administration_wants_reload(struct administration *administration)
{
    bool wanted = administration->reload_wanted;
    administration->reload_wanted = false;
    return wanted;
}

/* "error: …", a line each. */
static void collect(void *context, enum log_level level, const char *text)
{
    struct administration *administration = context;
    char line[LOG_LINE_LIMIT];
    if (level > LOG_LEVEL_WARNING)
        return;
    int length = snprintf(line, sizeof line, "%s: %s\n", log_level_name(level), text);
    if (length < 0 || (size_t)length >= sizeof line ||
        administration->report_size + (size_t)length > REPORT_SIZE_LIMIT)
        return;
    if (write(administration->report, line, (size_t)length) == length)
        administration->report_size += (size_t)length;
}

void administration_begin_reload(struct administration *administration,
                                 const struct administration_view *view)
{
    for (size_t i = 0; i < view->count; i++)
        if (view->generations[i])
            generation_begin_reload(view->generations[i]);
    if (administration->report >= 0)
        close(administration->report);
    administration->report_size = 0;
    administration->report = memfd_create("reload", MFD_CLOEXEC);
    if (administration->report >= 0)
        log_set_tap(collect, administration);
}

void administration_end_reload(struct administration *administration,
                               const struct administration_view *view, bool done)
{
    log_set_tap(NULL, NULL);
    for (size_t i = 0; i < view->count; i++)
        if (view->generations[i])
            generation_end_reload(view->generations[i], done, administration->report);
    if (administration->report >= 0)
        close(administration->report);
    administration->report = -1;
}
