/* GET /sessions and POST /kick: what all reactors know of their sessions, and ending some. */
#include <stdlib.h>
#include <string.h>

#include "proxy/admin/internal.h"
#include "proxy/base/log.h"
#include "proxy/base/network.h"
#include "proxy/session.h"

#define LIMIT_UNLESS_TOLD 1000u
_Static_assert(ADMIN_SESSIONS_LIMIT == 10000, "the manual and an error say so");

static void write_session(struct json *json, const struct admin_session *session)
{
    json_object(json, NULL);
    json_word(json, "id", session->id);
    json_word(json, "listener", session->listener);
    json_word(json, "client", session->client);
    json_number(json, "port", session->port);
    json_word(json, "user", session->user);
    json_word(json, "mechanism", session->mechanism);
    json_word(json, "helo", session->helo);
    json_word(json, "tls", session->tls);
    json_word(json, "cipher", session->cipher);
    json_word(json, "backend", session->backend);
    json_text(json, "state", session_state_name(session->state));
    json_number(json, "age_ms", session->age_ms);
    json_number(json, "messages", session->messages);
    json_number(json, "recipients", session->recipients);
    json_number(json, "bytes_in", session->bytes_in);
    json_number(json, "bytes_out", session->bytes_out);
    json_number(json, "reactor", session->pid);
    json_object_end(json);
}

/* The youngest last. */
static int compare_age(const void *a, const void *b)
{
    uint64_t first = ((const struct admin_session *)a)->age_ms;
    uint64_t second = ((const struct admin_session *)b)->age_ms;
    return (first < second) - (first > second);
}

static void on_listed(struct admin_request *request, const struct admin_gathered *gathered)
{
    struct json *json = &request->json;
    if (gathered->count > 0)
        qsort(gathered->sessions, gathered->count, sizeof *gathered->sessions, compare_age);
    json_start(json, request->body);
    json_number(json, "total", gathered->matched);
    json_number(json, "silent_reactors", gathered->silent);
    json_list(json, "sessions");
    for (size_t i = 0; i < gathered->count; i++)
        write_session(json, &gathered->sessions[i]);
    json_list_end(json);
    admin_reply_json(request);
}

static bool parse_limit(const struct admin_query *query, uint32_t *limit)
{
    const char *text = query->value[ADMIN_PARAMETER_LIMIT];
    *limit = LIMIT_UNLESS_TOLD;
    if (!query->given[ADMIN_PARAMETER_LIMIT])
        return true;
    if (strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
        return false;
    *limit = (uint32_t)strtoul(text, NULL, 10);
    return *limit <= ADMIN_SESSIONS_LIMIT;
}

/* NULL, or what is wrong with the filters. */
static const char *read_filters(const struct admin_query *query, struct admin_question *out)
{
    struct network network;
    const char *address = query->value[ADMIN_PARAMETER_ADDRESS];
    const char *why = *address ? admin_query_network(query, &network) : NULL;
    if (why)
        return why;
    if (strlen(query->value[ADMIN_PARAMETER_ID]) >= sizeof out->id)
        return "that is no session's id";
    if (!parse_limit(query, &out->limit))
        return "a limit is a number from 0 to 10000";
    admin_message_put(out->id, sizeof out->id, query->value[ADMIN_PARAMETER_ID]);
    admin_message_put(out->user, sizeof out->user, query->value[ADMIN_PARAMETER_USER]);
    admin_message_put(out->network, sizeof out->network, address);
    return NULL;
}

void admin_show_sessions(struct admin_request *request)
{
    struct admin_question question = {.type = ADMIN_LIST_SESSIONS};
    const char *why = read_filters(&request->query, &question);
    if (why)
        admin_reply_error(request, 400, why);
    else
        admin_peers_ask(admin_of(request)->peers, &question, on_listed, request);
}

static void on_ended(struct admin_request *request, const struct admin_gathered *gathered)
{
    const struct admin_query *query = &request->query;
    struct log_record record;
    log_begin(&record, LOG_LEVEL_NOTICE, "sessions ended by the postmaster");
    for (int i = ADMIN_PARAMETER_ID; i <= ADMIN_PARAMETER_ADDRESS; i++)
        if (query->given[i])
            log_text(&record, admin_parameter_name((enum admin_parameter)i), query->value[i]);
    log_number(&record, "sessions", gathered->matched);
    log_end(&record);

    json_start(&request->json, request->body);
    json_number(&request->json, "ended", gathered->matched);
    json_number(&request->json, "silent_reactors", gathered->silent);
    admin_reply_json(request);
}

/* Without a filter it would be everybody's. */
void admin_end_sessions(struct admin_request *request)
{
    struct admin_question question = {.type = ADMIN_END_SESSIONS};
    const char *why = read_filters(&request->query, &question);
    if (!why && !*question.id && !*question.user && !*question.network)
        why = "say which: id, user or address";
    if (why)
        admin_reply_error(request, 400, why);
    else
        admin_peers_ask(admin_of(request)->peers, &question, on_ended, request);
}
