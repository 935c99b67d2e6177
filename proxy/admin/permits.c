/*
 * GET /permits, and POST /permit, /deny and /revoke: what the postmaster orders about
 * addresses. The table is shared by all reactors, so that whichever is asked can answer.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/admin/internal.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/permits.h"

/* If nothing is said. */
#define ALLOW_S 1800u
#define DENY_S  3600u

static const char *kind_name(enum permit_kind kind)
{
    return kind == PERMIT_ALLOW ? "permit" : "deny";
}

static void write_permit(struct json *json, const struct permit *permit, uint64_t now_ms)
{
    char network[NETWORK_TEXT_SIZE];
    network_text(&permit->network, network);
    json_object(json, NULL);
    json_text(json, "kind", kind_name(permit->kind));
    json_text(json, "address", network);
    json_text(json, "user", *permit->user ? permit->user : NULL);
    json_number(json, "left_ms", permit->until_ms - now_ms);
    json_object_end(json);
}

static void reply_list(struct admin_request *request)
{
    uint64_t now_ms = clock_now_ms();
    struct permit *list = calloc(PERMITS_LIMIT, sizeof *list);
    if (!list) {
        admin_reply_error(request, 503, "out of memory");
        return;
    }
    size_t count = permits_list(admin_of(request)->service->permits, now_ms, list);
    json_start(&request->json, request->body);
    json_list(&request->json, "permits");
    for (size_t i = 0; i < count; i++)
        write_permit(&request->json, &list[i], now_ms);
    json_list_end(&request->json);
    free(list);
    admin_reply_json(request);
}

void admin_show_permits(struct admin_request *request)
{
    reply_list(request);
}

/* "90", "90s", "30m", "2h" or "7d"; false: none of them. What has too many digits is more than
 * anybody may order. */
static bool parse_seconds(const char *text, uint64_t *seconds)
{
    static const struct {
        const char *unit;
        unsigned seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    size_t digits = strspn(text, "0123456789");
    for (size_t i = 0; digits > 0 && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].unit) != 0)
            continue;
        *seconds = digits > 8 ? UINT32_MAX : strtoull(text, NULL, 10) * units[i].seconds;
        return true;
    }
    return false;
}

static void log_order(const struct admin_request *request, const char *event)
{
    const struct admin_query *query = &request->query;
    struct log_record record;
    log_begin(&record, LOG_LEVEL_NOTICE, event);
    for (unsigned i = 0; i < ADMIN_PARAMETERS; i++)
        if (query->given[i])
            log_text(&record, admin_parameter_name((enum admin_parameter)i), query->value[i]);
    log_end(&record);
}

static bool read_network(struct admin_request *request, struct network *network)
{
    const char *why = admin_query_network(&request->query, network);
    if (why)
        admin_reply_error(request, 400, why);
    return !why;
}

static void order(struct admin_request *request, struct permit *permit, unsigned usual_s,
                  const char *event)
{
    const struct admin_query *query = &request->query;
    struct permits *permits = admin_of(request)->service->permits;
    uint64_t now_ms = clock_now_ms(), seconds = usual_s;
    const char *why;
    if (!read_network(request, &permit->network))
        return;
    if (query->given[ADMIN_PARAMETER_FOR] &&
        !parse_seconds(query->value[ADMIN_PARAMETER_FOR], &seconds)) {
        admin_reply_error(request, 400,
                          "a time is a number and s, m, h or d, as in 90s, 30m, 2h or 7d");
        return;
    }
    permit->until_ms = now_ms + seconds * 1000;
    if (!permits_add(permits, permit, now_ms, &why)) {
        admin_reply_error(request, 400, why);
        return;
    }
    log_order(request, event);
    reply_list(request);
}

void admin_order_permit(struct admin_request *request)
{
    struct permit permit = {.kind = PERMIT_ALLOW};
    memcpy(permit.user, request->query.value[ADMIN_PARAMETER_USER], sizeof permit.user);
    order(request, &permit, ALLOW_S, "address may send without AUTH");
}

void admin_order_deny(struct admin_request *request)
{
    struct permit permit = {.kind = PERMIT_DENY};
    order(request, &permit, DENY_S, "address is refused");
}

void admin_order_revoke(struct admin_request *request)
{
    struct permits *permits = admin_of(request)->service->permits;
    struct network network;
    if (!read_network(request, &network))
        return;
    bool allowed = permits_revoke(permits, PERMIT_ALLOW, &network, clock_now_ms());
    bool denied = permits_revoke(permits, PERMIT_DENY, &network, clock_now_ms());
    if (!allowed && !denied) {
        admin_reply_error(request, 404, "nothing was ordered about exactly this address");
        return;
    }
    log_order(request, "order about an address taken back");
    reply_list(request);
}
