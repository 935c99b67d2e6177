/*
 * POST /drain, /resume, /log, /reopen and /reload: the master is asked, and the request is
 * answered when the master has told all reactors of it, this one among them.
 */
#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/admin/internal.h"
#include "proxy/base/log.h"
#include "proxy/control_client.h"

/* A reload reads files and starts processes. */
#define DEADLINE_S        60
#define REPORT_SIZE_LIMIT 65536

struct admin_order {
    LIST_ENTRY(admin_order) link;
    struct admin_request *request;
    enum control_type type; /* of the message that is awaited */
    struct event deadline;
};

/* The request is still to be answered. */
static struct admin_request *take_request(struct admin_order *order)
{
    struct admin_request *request = order->request;
    LIST_REMOVE(order, link);
    event_del(&order->deadline);
    free(order);
    return request;
}

static void on_deadline(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    admin_reply_error(take_request(argument), 504, "the master does not answer");
}

static void order(struct admin_request *request, enum control_type tell,
                  enum control_type await, uint32_t number)
{
    struct admin *admin = admin_of(request);
    struct timeval wait = {DEADLINE_S, 0};
    const char *why = admin->is_orphan           ? ADMIN_ORPHANED
                      : admin->service->stopping ? ADMIN_STOPPING
                                                 : NULL;
    struct admin_order *order = why ? NULL : calloc(1, sizeof *order);
    if (!order) {
        admin_reply_error(request, 503, why ? why : "out of memory");
        return;
    }
    order->request = request;
    order->type = await;
    evtimer_assign(&order->deadline, admin->service->base, on_deadline, order);
    evtimer_add(&order->deadline, &wait);
    LIST_INSERT_HEAD(&admin->orders, order, link);
    control_client_tell(admin->service->control, tell, number);
}

void admin_order_drain(struct admin_request *request)
{
    order(request, CONTROL_REFUSE, CONTROL_REFUSE, 1);
}

void admin_order_resume(struct admin_request *request)
{
    order(request, CONTROL_REFUSE, CONTROL_REFUSE, 0);
}

void admin_order_reload(struct admin_request *request)
{
    order(request, CONTROL_RELOAD, CONTROL_RELOADED, 0);
}

void admin_order_reopen(struct admin_request *request)
{
    order(request, CONTROL_REOPEN, CONTROL_REOPEN, 0);
}

void admin_order_level(struct admin_request *request)
{
    const char *wanted = request->query.value[ADMIN_PARAMETER_LEVEL];
    for (uint32_t i = 0; i <= LOG_LEVEL_DEBUG; i++) {
        if (strcmp(log_level_name((enum log_level)i), wanted) != 0)
            continue;
        order(request, CONTROL_LOG_LEVEL, CONTROL_LOG_LEVEL, i);
        return;
    }
    admin_reply_error(request, 400, "the level is error, warning, notice, info or debug");
}

static void write_lines(struct json *json, char *text)
{
    json_list(json, "messages");
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest))
        json_text(json, NULL, line);
    json_list_end(json);
}

static void answer_reload(struct admin_request *request, bool done, const char *report)
{
    char *text = strdup(report);
    json_start(&request->json, request->body);
    json_flag(&request->json, "reloaded", done);
    if (text)
        write_lines(&request->json, text);
    free(text);
    admin_reply_json_as(request, done ? 200 : 409);
}

static void answer_reopen(struct admin_request *request, uint32_t outcome)
{
    if (outcome != CONTROL_REOPENED) {
        admin_reply_error(request, 409,
                          outcome == CONTROL_REOPEN_NONE
                              ? "the log goes to no file: see \"destination\" in section log"
                              : "the log file cannot be opened, and the old one stays in use: "
                                "its last lines say why");
        return;
    }
    json_start(&request->json, request->body);
    json_flag(&request->json, "reopened", true);
    admin_reply_json(request);
}

static void answer(struct admin_request *request, const struct admin *admin)
{
    json_start(&request->json, request->body);
    json_text(&request->json, "state", admin->service->refusing ? "draining" : "serving");
    json_text(&request->json, "log_level", log_level_name(log_options()->level));
    admin_reply_json(request);
}

/* What a reload had to say; "" without a file. To be freed. */
static char *read_report(int file)
{
    char *text = calloc(1, REPORT_SIZE_LIMIT + 1);
    if (text && file >= 0 && pread(file, text, REPORT_SIZE_LIMIT, 0) < 0)
        log_error("the report of a reload cannot be read: %s", strerrordesc_np(errno));
    return text;
}

void admin_orders_told(struct admin *admin, const struct control_message *message, int file)
{
    char *report = message->type == CONTROL_RELOADED ? read_report(file) : NULL;
    struct admin_order *next, *each = LIST_FIRST(&admin->orders);
    for (; each; each = next) {
        next = LIST_NEXT(each, link);
        if (each->type != (enum control_type)message->type)
            continue;
        struct admin_request *request = take_request(each);
        if (message->type == CONTROL_RELOADED)
            answer_reload(request, message->number == 1, report ? report : "");
        else if (message->type == CONTROL_REOPEN)
            answer_reopen(request, message->number);
        else
            answer(request, admin);
    }
    free(report);
}

void admin_orders_fail(struct admin *admin, const char *why)
{
    struct admin_order *next;
    for (struct admin_order *each = LIST_FIRST(&admin->orders); each; each = next) {
        next = LIST_NEXT(each, link);
        admin_reply_error(take_request(each), 503, why);
    }
}
