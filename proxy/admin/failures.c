/* GET /failures: the latest of each kind, whichever reactor saw them. */
#include "proxy/failures.h"

#include "proxy/admin/internal.h"

void admin_show_failures(struct admin_request *request)
{
    static struct failure failures[FAILURES_LIMIT];
    struct json *json = &request->json;
    size_t count = failures_read(failures);
    json_start(json, request->body);
    json_list(json, "failures");
    for (size_t i = 0; i < count; i++) {
        json_object(json, NULL);
        json_time(json, "time", failures[i].time_ms / 1000);
        json_time(json, "first", failures[i].first_ms / 1000);
        json_number(json, "times", failures[i].times);
        json_text(json, "kind", failure_kind_name((enum failure_kind)failures[i].kind));
        json_word(json, "listener", failures[i].listener);
        json_word(json, "client", failures[i].client);
        json_word(json, "user", failures[i].user);
        json_word(json, "reason", failures[i].reason);
        json_object_end(json);
    }
    json_list_end(json);
    admin_reply_json(request);
}
