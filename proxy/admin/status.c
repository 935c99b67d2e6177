/*
 * GET /status: the state of everything at a glance. Adds the figures of all reactors up; what
 * is said of backends is what this reactor knows of them.
 */
#include <time.h>
#include <unistd.h>

#include "proxy/admin/internal.h"
#include "proxy/base/clock.h"
#include "proxy/door.h"
#include "proxy/statistics_memory.h"
#include "tls/certificates.h"

#define DAY_S 86400

static void write_gauges(struct json *json, const struct statistics *sum)
{
    uint64_t total = 0;
    json_object(json, "sessions");
    for (unsigned i = 0; i < SESSION_STATES; i++) {
        total += sum->sessions[i];
        json_number(json, session_state_name(i), sum->sessions[i]);
    }
    json_number(json, "total", total);
    json_object_end(json);
    json_object(json, "auth");
    json_number(json, "waiting", sum->logins_waiting);
    json_number(json, "idle", sum->auth_workers[STATISTICS_WORKER_IDLE]);
    json_number(json, "busy", sum->auth_workers[STATISTICS_WORKER_BUSY]);
    json_number(json, "absent", sum->auth_workers[STATISTICS_WORKER_ABSENT]);
    json_object_end(json);
}

static uint64_t add_up(const uint64_t *cells, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += cells[i];
    return sum;
}

static uint64_t logins_with(const struct statistics *sum, enum statistics_login result)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++)
        count += sum->logins[i][result];
    return count;
}

/* Since the start. */
static void write_counters(struct json *json, const struct statistics *sum)
{
    json_object(json, "counters");
    json_number(json, "connections", add_up(sum->connections, STATISTICS_NAMES));
    json_number(json, "tls_handshakes",
                add_up(&sum->handshakes[0][0][0], sizeof sum->handshakes / sizeof(uint64_t)));
    json_number(json, "tls_handshake_failures", sum->handshake_failures);
    json_number(json, "logins", logins_with(sum, STATISTICS_LOGIN_ACCEPTED));
    json_number(json, "logins_failed", logins_with(sum, STATISTICS_LOGIN_REJECTED));
    json_number(json, "logins_unavailable", logins_with(sum, STATISTICS_LOGIN_UNAVAILABLE));
    json_number(json, "logins_put_off", logins_with(sum, STATISTICS_LOGIN_PUT_OFF));
    json_number(json, "messages", sum->messages);
    json_number(json, "recipients", sum->recipients[0]);
    json_number(json, "bytes_in", sum->bytes[0]);
    json_number(json, "bytes_out", sum->bytes[1]);
    json_number(json, "rejected_commands", add_up(sum->rejected, REPLY_COUNT));
    json_number(json, "repaired_line_ends", sum->repaired);
    json_number(json, "log_records_lost", sum->log_lost);
    json_number(json, "reloads", sum->reloads[STATISTICS_RELOAD_DONE]);
    json_number(json, "reloads_refused", sum->reloads[STATISTICS_RELOAD_REFUSED]);
    json_object_end(json);
    json_object(json, "limits_hit");
    for (unsigned i = 0; i < STATISTICS_LIMITS; i++)
        json_number(json, statistics_limit_name((enum statistics_limit)i), sum->limits[i]);
    json_object_end(json);
}

/* As they are kept; 0: none. */
static void write_limits(struct json *json, const struct config_limits *limits)
{
    json_object(json, "limits");
    json_number(json, "connections", limits->connections);
    json_number(json, "connections_per_address", limits->connections_per_address);
    json_number(json, "mx_sessions_per_address", limits->mx_sessions_per_address);
    json_number(json, "connections_per_minute", limits->connections_per_minute);
    json_number(json, "failed_logins", limits->failed_logins);
    json_number(json, "failed_logins_network", limits->failed_logins_network);
    json_number(json, "failed_logins_user", limits->failed_logins_user);
    json_number(json, "messages_per_hour", limits->messages_per_hour);
    json_number(json, "recipients_per_hour", limits->recipients_per_hour);
    json_number(json, "minimum_rate", limits->minimum_rate);
    json_number(json, "errors", limits->errors);
    json_object_end(json);
}

/* Reactors, by whether they do what `wanted` says. */
static void write_sharing(struct json *json, const struct config *config,
                          const struct statistics *sum)
{
    json_object(json, "limits_shared");
    json_flag(json, "wanted", *config->shared);
    json_number(json, "shared", sum->sharing[STATISTICS_SHARED]);
    json_number(json, "alone", sum->sharing[STATISTICS_ALONE]);
    json_object_end(json);
}

static void write_listeners(struct json *json, const struct config *config)
{
    static const char *const modes[] = {[CONFIG_TLS_IMPLICIT] = "implicit",
                                        [CONFIG_TLS_STARTTLS] = "starttls",
                                        [CONFIG_TLS_EITHER] = "either"};
    json_list(json, "listeners");
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *each = &config->listens[i];
        json_object(json, NULL);
        json_text(json, "name", each->name);
        json_text(json, "address", each->address_text);
        json_text(json, "tls", modes[each->tls]);
        json_text(json, "role", each->role == CONFIG_ROLE_MX ? "mx" : "submission");
        json_object_end(json);
    }
    json_list_end(json);
}

static const char *backend_state(const struct upstream *upstream)
{
    if (!upstream_is_up(upstream))
        return "down";
    if (!upstream_offer(upstream))
        return "unknown";
    return upstream_takes_identity(upstream) ? "up" : "no_identity";
}

static void write_backends(struct json *json, const struct admin *admin,
                           const struct statistics *sum)
{
    const struct config *config = admin->service->config;
    json_list(json, "backends");
    for (size_t i = 0; i < config->backend_count; i++) {
        const struct config_backend *each = &config->backends[i];
        const uint64_t *opens = sum->opens[statistics_backend(each->name)];
        json_object(json, NULL);
        json_text(json, "name", each->name);
        json_text(json, "address", *each->program ? each->program : each->address_text);
        json_text(json, "state", backend_state(admin->upstreams[i]));
        json_number(json, "opened", opens[STATISTICS_OPEN_DONE]);
        json_number(json, "failed",
                    add_up(opens, STATISTICS_OPENS) - opens[STATISTICS_OPEN_DONE]);
        json_object_end(json);
    }
    json_list_end(json);
}

static void write_certificates(struct json *json, const struct tls_certificates *all)
{
    int64_t now = time(NULL);
    json_list(json, "certificates");
    for (size_t i = 0; i < tls_certificates_count(all); i++) {
        int64_t end = tls_certificates_not_after(all, i);
        json_object(json, NULL);
        json_text(json, "file", tls_certificates_file(all, i));
        json_text(json, "state", tls_certificates_usable(all, i, now) ? "used" : "not used");
        if (end) {
            json_time(json, "not_after", end);
            json_signed(json, "days_left", (end - now) / DAY_S);
        }
        json_object_end(json);
    }
    json_list_end(json);
}

static const char *state_of(const struct service *service)
{
    if (service->stopping)
        return "stopping";
    return service->refusing ? "draining" : "serving";
}

void admin_show_status(struct admin_request *request)
{
    const struct admin *admin = admin_of(request);
    const struct config *config = admin->service->config;
    struct json *json = &request->json;
    static struct statistics sum;
    statistics_sum(&sum);
    json_start(json, request->body);
    json_text(json, "version", POSTERN_VERSION);
    json_number(json, "master", admin->is_orphan ? 0 : (uint64_t)getppid());
    json_text(json, "hostname", config->hostname);
    json_text(json, "configuration", config->path);
    json_text(json, "state", state_of(admin->service));
    json_time(json, "since", statistics_began());
    json_signed(json, "uptime_s", time(NULL) - statistics_began());
    write_gauges(json, &sum);
    write_counters(json, &sum);
    write_limits(json, &config->limits);
    write_sharing(json, config, &sum);
    write_listeners(json, config);
    write_backends(json, admin, &sum);
    write_certificates(json, admin->contexts->certificates);
    admin_reply_json(request);
}
