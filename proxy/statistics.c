/*
 * The table of metrics, the words of its labels, and the few functions that count more than one
 * number. Called wherever something happens that is counted; never writes to any block but its
 * own process's, never waits, never allocates.
 */
#include "proxy/statistics.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static struct statistics unshared;
struct statistics *statistics = &unshared;

const uint32_t statistics_bounds_ms[STATISTICS_BUCKETS - 1] = {
    5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000};

/* A name each, for good: the master writes them before it forks. */
struct names {
    char *text[STATISTICS_NAMES];
};
static struct names listeners, backends;

/* A function that gives words by their index. */
#define WORDS(function, ...)                                                                   \
    static const char *function(unsigned index)                                                \
    {                                                                                          \
        static const char *const words[] = {__VA_ARGS__};                                      \
        return index < sizeof words / sizeof words[0] ? words[index] : NULL;                   \
    }

WORDS(version_word, "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "other")
WORDS(cipher_word, "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
      "TLS_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256",
      "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
      "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
      "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA",
      "AES128-SHA", "AES256-SHA", "other")
WORDS(resumed_word, "false", "true")
WORDS(login_word, [STATISTICS_LOGIN_ACCEPTED] = "accepted",
      [STATISTICS_LOGIN_REJECTED] = "rejected", [STATISTICS_LOGIN_UNAVAILABLE] = "unavailable",
      [STATISTICS_LOGIN_MALFORMED] = "malformed", [STATISTICS_LOGIN_PUT_OFF] = "put_off",
      [STATISTICS_LOGIN_REPEATED] = "repeated")
WORDS(worker_word, [STATISTICS_WORKER_IDLE] = "idle", [STATISTICS_WORKER_BUSY] = "busy",
      [STATISTICS_WORKER_ABSENT] = "absent")
WORDS(
    open_word, [STATISTICS_OPEN_DONE] = "opened", [STATISTICS_OPEN_UNREACHABLE] = "unreachable",
    [STATISTICS_OPEN_SILENT] = "silent", [STATISTICS_OPEN_UNWILLING] = "unwilling",
    [STATISTICS_OPEN_NO_IDENTITY] = "no_identity", [STATISTICS_OPEN_OTHER] = "other")
WORDS(recipient_word, "accepted", "refused")
WORDS(direction_word, "in", "out")
WORDS(limit_word, [STATISTICS_LIMIT_CONNECTIONS] = "connections",
      [STATISTICS_LIMIT_DENIED] = "denied",
      [STATISTICS_LIMIT_PER_ADDRESS] = "connections_per_address",
      [STATISTICS_LIMIT_PER_MINUTE] = "connections_per_minute",
      [STATISTICS_LIMIT_MX_SESSIONS] = "mx_sessions_per_address",
      [STATISTICS_LIMIT_GAVE_WAY] = "gave_way", [STATISTICS_LIMIT_ERRORS] = "errors",
      [STATISTICS_LIMIT_ATTEMPTS] = "login_attempts",
      [STATISTICS_LIMIT_AUTH_QUEUE] = "login_queue",
      [STATISTICS_LIMIT_FAILED_ADDRESS] = "failed_logins",
      [STATISTICS_LIMIT_FAILED_NETWORK] = "failed_logins_network",
      [STATISTICS_LIMIT_FAILED_USER] = "failed_logins_user",
      [STATISTICS_LIMIT_MESSAGES] = "messages_per_hour",
      [STATISTICS_LIMIT_RECIPIENTS] = "recipients_per_hour",
      [STATISTICS_LIMIT_RATE] = "minimum_rate",
      [STATISTICS_LIMIT_TIME_HANDSHAKE] = "handshake_time",
      [STATISTICS_LIMIT_TIME_GREETING] = "greeting_time",
      [STATISTICS_LIMIT_TIME_LOGIN] = "login_time", [STATISTICS_LIMIT_TIME_IDLE] = "idle_time",
      [STATISTICS_LIMIT_TIME_MX_IDLE] = "mx_idle_time",
      [STATISTICS_LIMIT_TIME_BACKEND] = "backend_time",
      [STATISTICS_LIMIT_DRAINING] = "draining", [STATISTICS_LIMIT_MEMORY] = "memory")
WORDS(sharing_word, [STATISTICS_ALONE] = "alone", [STATISTICS_SHARED] = "shared")
WORDS(reload_word, [STATISTICS_RELOAD_DONE] = "done", [STATISTICS_RELOAD_REFUSED] = "refused")
WORDS(child_word, [STATISTICS_CHILD_REACTOR] = "reactor",
      [STATISTICS_CHILD_WORKER] = "auth_worker", [STATISTICS_CHILD_OPENER] = "opener")

const char *statistics_limit_name(enum statistics_limit limit)
{
    return limit_word(limit);
}

static const char *mechanism_word(unsigned index)
{
    return sasl_mechanism_name((enum sasl_mechanism)index);
}

/* Good until the next call. */
static const char *reply_word(unsigned index)
{
    static char kind[40];
    const char *name = reply_kind((enum reply)index);
    size_t i = 0;
    for (; i < sizeof kind - 1 && name[i]; i++)
        kind[i] = (char)tolower((unsigned char)name[i]);
    kind[i] = '\0';
    return kind;
}

static const char *name_word(const struct names *names, unsigned index)
{
    return index == STATISTICS_NAMES - 1 ? "other" : names->text[index];
}

static const char *listener_word(unsigned index)
{
    return name_word(&listeners, index);
}

static const char *backend_word(unsigned index)
{
    return name_word(&backends, index);
}

#define AT(field)                                                                              \
    .offset = offsetof(struct statistics, field), .size = sizeof((struct statistics *)0)->field

static const struct statistics_row rows[] = {
    {"postern_connections_total",
     "Connections accepted, by listener.",
     STATISTICS_COUNTER,
     AT(connections),
     {{"listener", listener_word, STATISTICS_NAMES}},
     .is_sparse = true},
    {"postern_health_checks_total",
     "Of these, those that only looked whether the port answers.",
     STATISTICS_COUNTER,
     AT(health_checks),
     {{"listener", listener_word, STATISTICS_NAMES}},
     .is_sparse = true},
    {"postern_sessions",
     "Sessions that are open now, by state.",
     STATISTICS_GAUGE,
     AT(sessions),
     {{"state", session_state_name, SESSION_STATES}}},
    {"postern_tls_handshakes_total",
     "TLS handshakes with clients that were completed.",
     STATISTICS_COUNTER,
     AT(handshakes),
     {{"version", version_word, STATISTICS_TLS_VERSIONS},
      {"cipher", cipher_word, STATISTICS_CIPHERS},
      {"resumed", resumed_word, 2}},
     .is_sparse = true},
    {"postern_tls_handshake_failures_total",
     "TLS handshakes with clients that failed or were given up.", STATISTICS_COUNTER,
     AT(handshake_failures)},
    {"postern_tls_kernel_sessions_total",
     "Sessions that have ended and that the kernel encrypted or decrypted for.",
     STATISTICS_COUNTER, AT(kernel_sessions)},
    {"postern_logins_total",
     "Attempts to log in, by mechanism and result.",
     STATISTICS_COUNTER,
     AT(logins),
     {{"mechanism", mechanism_word, SASL_MECHANISM_COUNT},
      {"result", login_word, STATISTICS_LOGINS}}},
    {"postern_login_duration_seconds",
     "From a password to PAM's verdict, waiting for a worker included.", STATISTICS_HISTOGRAM,
     AT(login_duration)},
    {"postern_logins_waiting", "Logins that wait for an auth worker.", STATISTICS_GAUGE,
     AT(logins_waiting)},
    {"postern_auth_workers",
     "Auth workers, by what they do.",
     STATISTICS_GAUGE,
     AT(auth_workers),
     {{"state", worker_word, STATISTICS_WORKERS}}},
    {"postern_backend_sessions_total",
     "Sessions that were to be opened at a backend, by backend and result.",
     STATISTICS_COUNTER,
     AT(opens),
     {{"backend", backend_word, STATISTICS_NAMES}, {"result", open_word, STATISTICS_OPENS}},
     .is_sparse = true},
    {"postern_backend_open_duration_seconds",
     "From the connection to a backend to its having heard who the client is, or to failure.",
     STATISTICS_HISTOGRAM,
     AT(open_duration),
     {{"backend", backend_word, STATISTICS_NAMES}},
     .is_sparse = true},
    {"postern_messages_total", "Messages that a backend has accepted.", STATISTICS_COUNTER,
     AT(messages)},
    {"postern_recipients_total",
     "Recipients that a backend has accepted, or that were refused as not ours.",
     STATISTICS_COUNTER,
     AT(recipients),
     {{"result", recipient_word, 2}}},
    {"postern_client_bytes_total",
     "SMTP from and to clients, inside TLS.",
     STATISTICS_COUNTER,
     AT(bytes),
     {{"direction", direction_word, 2}}},
    {"postern_rejected_commands_total",
     "Commands of clients that Postern itself has refused, by reply.",
     STATISTICS_COUNTER,
     AT(rejected),
     {{"kind", reply_word, REPLY_COUNT}},
     .is_sparse = true},
    {"postern_repaired_line_ends_total",
     "Bare line ends and NULs in messages, which could smuggle a message past another server.",
     STATISTICS_COUNTER, AT(repaired)},
    {"postern_figures_refused_total",
     "Connections to the address for figures from where they may not be read.",
     STATISTICS_COUNTER, AT(figures_refused)},
    {"postern_limits_hit_total",
     "Connections and sessions that were refused or ended by a limit.",
     STATISTICS_COUNTER,
     AT(limits),
     {{"limit", limit_word, STATISTICS_LIMITS}}},
    {"postern_limits_shared",
     "Reactors that are to share their limits through Redis, by whether they do.",
     STATISTICS_GAUGE,
     AT(sharing),
     {{"state", sharing_word, STATISTICS_SHARINGS}}},
    {"postern_log_records_lost_total", "Log records that could not be written.",
     STATISTICS_COUNTER, AT(log_lost)},
    {"postern_reloads_total",
     "Reloads of the configuration, by result.",
     STATISTICS_COUNTER,
     AT(reloads),
     {{"result", reload_word, STATISTICS_RELOADS}}},
    {"postern_processes_lost_total",
     "Processes that ended before their time, or were replaced.",
     STATISTICS_COUNTER,
     AT(children_lost),
     {{"process", child_word, STATISTICS_CHILDREN}}},
    {"postern_certificate_not_after_timestamp_seconds",
     "When each certificate ends, by its file.", STATISTICS_GAUGE, .labels = {{"certificate"}}},
    {"postern_certificate_usable", "1, or 0 for a further certificate that clients do not get.",
     STATISTICS_GAUGE, .labels = {{"certificate"}}},
    {"postern_build_info", "Always 1; the labels tell the versions.", STATISTICS_GAUGE,
     .labels = {{"version"}, {"openssl"}, {"libevent"}}},
    {"postern_accepting", "1, or 0 while new connections are refused.", STATISTICS_GAUGE},
    {"process_start_time_seconds", "When the master was started.", STATISTICS_GAUGE},
};

const struct statistics_row *statistics_rows(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

void statistics_observe(struct statistics_histogram *histogram, uint64_t elapsed_ms)
{
    unsigned bucket = 0;
    while (bucket < STATISTICS_BUCKETS - 1 && elapsed_ms > statistics_bounds_ms[bucket])
        bucket++;
    statistics_add(&histogram->buckets[bucket], 1);
    statistics_add(&histogram->sum_ms, elapsed_ms);
}

/* The index of a word; the last one's for all that are not there. */
static unsigned find_word(const char *(*word)(unsigned index), unsigned count, const char *text)
{
    for (unsigned i = 0; text && i < count - 1; i++)
        if (strcmp(word(i), text) == 0)
            return i;
    return count - 1;
}

void statistics_add_handshake(const char *version, const char *cipher, bool resumed)
{
    unsigned row = find_word(version_word, STATISTICS_TLS_VERSIONS, version);
    unsigned column = find_word(cipher_word, STATISTICS_CIPHERS, cipher);
    statistics_add(&statistics->handshakes[row][column][resumed], 1);
}

static unsigned find_name(const struct names *names, const char *name)
{
    unsigned i = 0;
    while (i < STATISTICS_NAMES - 1 && names->text[i] && strcmp(names->text[i], name) != 0)
        i++;
    return i < STATISTICS_NAMES - 1 && names->text[i] ? i : STATISTICS_NAMES - 1;
}

unsigned statistics_listener(const char *name)
{
    return find_name(&listeners, name);
}

unsigned statistics_backend(const char *name)
{
    return find_name(&backends, name);
}

static void give_place(struct names *names, const char *name)
{
    unsigned i = 0;
    while (i < STATISTICS_NAMES - 1 && names->text[i] && strcmp(names->text[i], name) != 0)
        i++;
    if (i < STATISTICS_NAMES - 1 && !names->text[i])
        names->text[i] = strdup(name);
}

void statistics_name(const struct config *config)
{
    for (size_t i = 0; i < config->listen_count; i++)
        give_place(&listeners, config->listens[i].name);
    for (size_t i = 0; i < config->backend_count; i++)
        give_place(&backends, config->backends[i].name);
}

static void write_names(const struct names *names, char out[][STATISTICS_NAME_SIZE])
{
    for (unsigned i = 0; i < STATISTICS_NAMES; i++)
        snprintf(out[i], STATISTICS_NAME_SIZE, "%s", names->text[i] ? names->text[i] : "");
}

void statistics_write_names(struct statistics_names *out)
{
    write_names(&listeners, out->listeners);
    write_names(&backends, out->backends);
}

/* Up to the first place that nobody has, or that makes no sense. Another process may write
 * while this one reads, so that what is looked at, and kept, is a copy. */
static void read_names(struct names *names, const char from[][STATISTICS_NAME_SIZE])
{
    char copy[STATISTICS_NAME_SIZE];
    for (unsigned i = 0; i < STATISTICS_NAMES - 1; i++) {
        memcpy(copy, from[i], sizeof copy);
        if (names->text[i] || !copy[0] || !memchr(copy, '\0', sizeof copy))
            return;
        names->text[i] = strdup(copy);
    }
}

void statistics_read_names(const struct statistics_names *names)
{
    read_names(&listeners, names->listeners);
    read_names(&backends, names->backends);
}

/* FNV-1a. */
static uint64_t mix(uint64_t shape, const char *text)
{
    for (; *text; text++)
        shape = (shape ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return (shape ^ 0xff) * UINT64_C(0x100000001b3);
}

uint64_t statistics_shape(void)
{
    uint64_t shape = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].size == 0)
            continue;
        shape = mix(shape, rows[i].name) + rows[i].size;
        for (unsigned j = 0; j < STATISTICS_LABELS && rows[i].labels[j].name; j++) {
            const struct statistics_label *label = &rows[i].labels[j];
            bool is_name = label->word == listener_word || label->word == backend_word;
            for (unsigned k = 0; k < label->count && !is_name; k++)
                shape = mix(shape, label->word(k));
        }
    }
    return shape;
}
