/* GET /history: the figures of the last hour, a row for every ten seconds, the oldest first.
 * Counters are those since the start, as in /status. */
#include "proxy/history.h"

#include "proxy/admin/internal.h"
#include "proxy/base/clock.h"
#include "proxy/statistics_memory.h"

static void write_columns(struct json *json)
{
    json_list(json, "columns");
    json_text(json, NULL, "age_ms");
    for (unsigned i = 0; i < HISTORY_FIGURES; i++)
        json_text(json, NULL, history_figure_name((enum history_figure)i));
    json_list_end(json);
}

static void write_point(struct json *json, const struct history_point *point, uint64_t now_ms)
{
    json_list(json, NULL);
    json_number(json, NULL, now_ms - point->at_ms);
    for (unsigned i = 0; i < HISTORY_FIGURES; i++)
        json_number(json, NULL, point->figures[i]);
    json_list_end(json);
}

void admin_show_history(struct admin_request *request)
{
    static struct history_point points[HISTORY_POINTS];
    const struct history *history = statistics_history();
    uint64_t now_ms = clock_now_ms();
    size_t count = history ? history_read(history, now_ms, points) : 0;
    struct json *json = &request->json;
    json_start(json, request->body);
    write_columns(json);
    json_list(json, "points");
    for (size_t i = 0; i < count; i++)
        write_point(json, &points[i], now_ms);
    json_list_end(json);
    admin_reply_json(request);
}
