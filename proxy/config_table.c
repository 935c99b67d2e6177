/*
 * The table of options: for each key its section, kind, place, default and bounds. config.c
 * reads files by it, the manual and the sample are tested against it. Adding an option is
 * adding a row (and its paragraph in postern.conf(5)); nothing here looks at a file.
 */
#include <string.h>

#include "auth/sasl.h"
#include "proxy/config_internal.h"
#include "proxy/config_rules.h"
#include "proxy/identity.h"
#include "proxy/smtp/ehlo.h"
#include "proxy/smtp/xclient.h"

#define CIPHERS                                                                                \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                               \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                               \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES                                                                           \
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* A function that gives the words of an option by their index. */
#define WORDS(function, ...)                                                                   \
    static const char *function(unsigned index)                                                \
    {                                                                                          \
        static const char *const words[] = {__VA_ARGS__};                                      \
        return index < sizeof words / sizeof words[0] ? words[index] : NULL;                   \
    }

WORDS(helo_word, [CONFIG_HELO_LENIENT] = "lenient", [CONFIG_HELO_STRICT] = "strict")
WORDS(bare_newline_word, [CONFIG_BARE_NEWLINE_NORMALIZE] = "normalize",
      [CONFIG_BARE_NEWLINE_REJECT] = "reject")
WORDS(tls_version_word, "1.2", "1.3")
WORDS(listen_tls_version_word, "", "1.0", "1.1", "1.2", "1.3")
WORDS(client_certificates_word, [TLS_CLIENT_CERTIFICATES_OFF] = "off",
      [TLS_CLIENT_CERTIFICATES_REQUEST] = "request",
      [TLS_CLIENT_CERTIFICATES_REQUIRE] = "require")
WORDS(tls_mode_word, [CONFIG_TLS_IMPLICIT] = "implicit", [CONFIG_TLS_STARTTLS] = "starttls",
      [CONFIG_TLS_EITHER] = "either")
WORDS(backend_tls_word, [CONFIG_BACKEND_TLS_OFF] = "off",
      [CONFIG_BACKEND_TLS_STARTTLS] = "starttls", [CONFIG_BACKEND_TLS_IMPLICIT] = "implicit")
WORDS(backend_order_word, [CONFIG_ORDER_FAILOVER] = "failover",
      [CONFIG_ORDER_BALANCE] = "balance")
WORDS(role_word, [CONFIG_ROLE_SUBMISSION] = "submission", [CONFIG_ROLE_MX] = "mx")
WORDS(destination_word, [LOG_TO_STDERR] = "stderr", [LOG_TO_SYSLOG] = "syslog",
      [LOG_TO_FILE] = "file", [LOG_TO_JOURNAL] = "journal")
WORDS(format_word, [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json")
WORDS(level_word, [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning",
      [LOG_LEVEL_NOTICE] = "notice", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug")

static const char *mechanism_word(unsigned index)
{
    return index < SASL_MECHANISM_COUNT ? sasl_mechanism_name((enum sasl_mechanism)index)
                                        : NULL;
}

static const char *attribute_word(unsigned index)
{
    return index < SMTP_XCLIENT_COUNT ? smtp_xclient_name((enum smtp_xclient_attribute)index)
                                      : NULL;
}

static const char *keyword_word(unsigned index)
{
    return index < SMTP_EXT_COUNT ? smtp_ehlo_keyword((enum smtp_extension)index) : NULL;
}

#define AT(field)             .offset = offsetof(struct config, field)
#define CERTIFICATE_AT(field) .offset = offsetof(struct config_certificate, field)
#define LISTEN_AT(field)      .offset = offsetof(struct config_listen, field)
#define BACKEND_AT(field)     .offset = offsetof(struct config_backend, field)
#define RANGE(low, high)      .minimum = (low), .maximum = (high)
#define DAY                   86400u

const struct config_row config_rows[] = {
    {{"", "hostname", "\"\""}, CONFIG_TEXT, AT(hostname), .check = config_check_hostname},
    {{"", "user", "\"postern\""}, CONFIG_TEXT, AT(user), .check = config_check_not_empty},
    {{"", "workers", "1"}, CONFIG_NUMBER, AT(workers), RANGE(1, 256)},
    {{"", "helo", "\"lenient\""}, CONFIG_CHOICE, AT(helo), .word = helo_word},
    {{"", "bare_newline", "\"normalize\""},
     CONFIG_CHOICE,
     AT(bare_newline),
     .word = bare_newline_word},

    {{"", "nameservers", "{}"},
     CONFIG_TEXTS,
     AT(nameservers),
     .check = config_check_nameserver},

    {{"tls", "certificate", NULL},
     CONFIG_TEXT,
     AT(tls.certificate),
     .check = config_check_not_empty},
    {{"tls", "key", NULL}, CONFIG_TEXT, AT(tls.key), .check = config_check_not_empty},
    {{"tls", "minimum", "\"1.2\""}, CONFIG_TEXT, AT(tls.minimum), .word = tls_version_word},
    {{"tls", "ciphers", "\"" CIPHERS "\""},
     CONFIG_TEXT,
     AT(tls.ciphers),
     .check = config_check_not_empty},
    {{"tls", "ciphersuites", "\"" CIPHERSUITES "\""},
     CONFIG_TEXT,
     AT(tls.ciphersuites),
     .check = config_check_not_empty},
    {{"tls", "groups", "\"X25519:P-256:P-384\""},
     CONFIG_TEXT,
     AT(tls.groups),
     .check = config_check_not_empty},
    {{"tls", "tickets", "true"}, CONFIG_FLAG, AT(tls.tickets)},
    {{"tls", "ticket_secret", "\"\""}, CONFIG_TEXT, AT(tls.ticket_secret)},
    {{"tls", "kernel", "false"}, CONFIG_FLAG, AT(tls.kernel)},

    {{"certificate", "certificate", NULL},
     CONFIG_TEXT,
     CERTIFICATE_AT(certificate),
     .check = config_check_not_empty},
    {{"certificate", "key", NULL},
     CONFIG_TEXT,
     CERTIFICATE_AT(key),
     .check = config_check_not_empty},

    {{"listen", "address", NULL},
     CONFIG_ADDRESS,
     LISTEN_AT(address_text),
     .address_offset = offsetof(struct config_listen, address),
     .check = config_check_listen_address},
    {{"listen", "tls", "\"starttls\""}, CONFIG_CHOICE, LISTEN_AT(tls), .word = tls_mode_word},
    {{"listen", "proxy_protocol", "{}"}, CONFIG_NETWORKS, LISTEN_AT(proxy_protocol)},
    {{"listen", "proxy_exempt", "{}"}, CONFIG_NETWORKS, LISTEN_AT(proxy_exempt)},
    {{"listen", "health_checks", "{}"}, CONFIG_NETWORKS, LISTEN_AT(health_checks)},
    {{"listen", "tls_minimum", "\"\""},
     CONFIG_TEXT,
     LISTEN_AT(tls_minimum),
     .word = listen_tls_version_word},
    {{"listen", "client_certificates", "\"off\""},
     CONFIG_CHOICE,
     LISTEN_AT(client_certificates),
     .word = client_certificates_word},
    {{"listen", "client_ca", "\"\""}, CONFIG_TEXT, LISTEN_AT(client_ca)},
    {{"listen", "client_crl", "\"\""}, CONFIG_TEXT, LISTEN_AT(client_crl)},
    {{"listen", "external", "\"\""},
     CONFIG_TEXT,
     LISTEN_AT(external),
     .check = config_check_external},
    {{"listen", "mechanisms", "{\"PLAIN\", \"LOGIN\", \"EXTERNAL\"}"},
     CONFIG_WORDS,
     LISTEN_AT(mechanisms),
     .word = mechanism_word},
    {{"listen", "role", "\"submission\""}, CONFIG_CHOICE, LISTEN_AT(role), .word = role_word},
    {{"listen", "tls_required", "false"}, CONFIG_FLAG, LISTEN_AT(tls_required)},
    {{"listen", "recipients", "{}"}, CONFIG_TEXTS, LISTEN_AT(recipient_words)},
    {{"listen", "withhold", "{}"}, CONFIG_WORDS, LISTEN_AT(withhold), .word = keyword_word},
    {{"listen", "backend", "{}"}, CONFIG_TEXTS, LISTEN_AT(backend_names)},
    {{"listen", "backend_order", "\"failover\""},
     CONFIG_CHOICE,
     LISTEN_AT(backend_order),
     .word = backend_order_word},

    {{"auth", "mechanisms", "{\"PLAIN\", \"LOGIN\", \"EXTERNAL\"}"},
     CONFIG_WORDS,
     AT(auth.mechanisms),
     .word = mechanism_word},
    {{"auth", "pam_service", "\"postern\""},
     CONFIG_TEXT,
     AT(auth.pam_service),
     .check = config_check_pam_service},
    {{"auth", "pam_confdir", "\"\""}, CONFIG_TEXT, AT(auth.pam_confdir)},
    {{"auth", "user", "\"\""}, CONFIG_TEXT, AT(auth.user)},
    {{"auth", "workers", "4"}, CONFIG_NUMBER, AT(auth.workers), RANGE(1, 1024)},
    {{"auth", "logins_per_worker", "1000"},
     CONFIG_NUMBER,
     AT(auth.logins_per_worker),
     RANGE(0, 1000000)},
    {{"auth", "share", "0"}, CONFIG_NUMBER, AT(auth.share), RANGE(0, 1024)},
    {{"auth", "queue", "1000"}, CONFIG_NUMBER, AT(auth.queue), RANGE(1, 1000000)},
    {{"auth", "timeout", "30"}, CONFIG_SECONDS, AT(auth.timeout_ms), RANGE(1, 3600)},
    {{"auth", "failure_delay", "2"}, CONFIG_SECONDS, AT(auth.failure_delay_ms), RANGE(0, 60)},
    {{"auth", "attempts", "3"}, CONFIG_NUMBER, AT(auth.attempts), RANGE(1, 100)},
    {{"auth", "legacy_ehlo", "false"}, CONFIG_FLAG, AT(auth.legacy_ehlo)},

    {{"backend", "address", "\"127.0.0.1:25\""},
     CONFIG_ADDRESS,
     BACKEND_AT(address_text),
     .address_offset = offsetof(struct config_backend, address),
     .check = config_check_backend_address},
    {{"backend", "program", "\"\""},
     CONFIG_TEXT,
     BACKEND_AT(program),
     .check = config_check_program},
    {{"backend", "user", "\"\""}, CONFIG_TEXT, BACKEND_AT(user)},
    {{"backend", "relayclient", "\"unset\""}, CONFIG_TEXT, BACKEND_AT(relayclient)},
    {{"backend", "program_limit", "100"},
     CONFIG_NUMBER,
     BACKEND_AT(program_limit),
     RANGE(1, 100000)},
    {{"backend", "identity", "\"auto\""},
     CONFIG_CHOICE,
     BACKEND_AT(identity),
     .word = identity_way_name},
    {{"backend", "identity_required", "{\"ADDR\", \"LOGIN\"}"},
     CONFIG_WORDS,
     BACKEND_AT(required),
     .word = attribute_word},
    {{"backend", "tls", "\"off\""}, CONFIG_CHOICE, BACKEND_AT(tls), .word = backend_tls_word},
    {{"backend", "ca", "\"\""}, CONFIG_TEXT, BACKEND_AT(ca)},
    {{"backend", "tls_name", "\"\""},
     CONFIG_TEXT,
     BACKEND_AT(tls_name),
     .check = config_check_tls_name},
    {{"backend", "tls_common_name", "false"}, CONFIG_FLAG, BACKEND_AT(tls_common_name)},
    {{"backend", "resolve", "false"}, CONFIG_FLAG, BACKEND_AT(resolve)},
    {{"backend", "trace", "false"}, CONFIG_FLAG, BACKEND_AT(trace)},
    {{"backend", "hide_login", "false"}, CONFIG_FLAG, BACKEND_AT(hide_login)},
    {{"backend", "check", "30"}, CONFIG_SECONDS, BACKEND_AT(check_ms), RANGE(0, DAY)},

    {{"limits", "connections", "10000"},
     CONFIG_NUMBER,
     AT(limits.connections),
     RANGE(1, 1000000)},
    {{"limits", "connections_per_address", "200"},
     CONFIG_NUMBER,
     AT(limits.connections_per_address),
     RANGE(0, 1000000)},
    {{"limits", "mx_sessions_per_address", "20"},
     CONFIG_NUMBER,
     AT(limits.mx_sessions_per_address),
     RANGE(0, 1000000)},
    {{"limits", "connections_per_minute", "0"},
     CONFIG_NUMBER,
     AT(limits.connections_per_minute),
     RANGE(0, 60000)},
    {{"limits", "failed_logins", "10"},
     CONFIG_NUMBER,
     AT(limits.failed_logins),
     RANGE(0, 100000)},
    {{"limits", "failed_logins_network", "50"},
     CONFIG_NUMBER,
     AT(limits.failed_logins_network),
     RANGE(0, 100000)},
    {{"limits", "failed_logins_user", "30"},
     CONFIG_NUMBER,
     AT(limits.failed_logins_user),
     RANGE(0, 100000)},
    {{"limits", "forgive", "300"}, CONFIG_SECONDS, AT(limits.forgive_ms), RANGE(1, DAY)},
    {{"limits", "messages_per_hour", "0"},
     CONFIG_NUMBER,
     AT(limits.messages_per_hour),
     RANGE(0, 1000000)},
    {{"limits", "recipients_per_hour", "0"},
     CONFIG_NUMBER,
     AT(limits.recipients_per_hour),
     RANGE(0, 1000000)},
    {{"limits", "minimum_rate", "500"},
     CONFIG_NUMBER,
     AT(limits.minimum_rate),
     RANGE(0, 1000000)},
    {{"limits", "exempt", "{\"127.0.0.0/8\", \"::1\"}"}, CONFIG_NETWORKS, AT(exempt)},
    {{"limits", "shared", "\"\""},
     CONFIG_TEXT,
     AT(shared),
     .is_secret = true,
     .check = config_check_shared},
    {{"limits", "errors", "10"}, CONFIG_NUMBER, AT(limits.errors), RANGE(1, 1000)},

    {{"timeouts", "handshake", "30"}, CONFIG_SECONDS, AT(timeouts.handshake_ms), RANGE(1, DAY)},
    {{"timeouts", "either", "1"}, CONFIG_SECONDS, AT(timeouts.either_ms), RANGE(1, 60)},
    {{"timeouts", "greeting", "60"}, CONFIG_SECONDS, AT(timeouts.greeting_ms), RANGE(1, DAY)},
    {{"timeouts", "login", "180"}, CONFIG_SECONDS, AT(timeouts.login_ms), RANGE(1, DAY)},
    {{"timeouts", "resolve", "5"}, CONFIG_SECONDS, AT(timeouts.resolve_ms), RANGE(1, 60)},
    {{"timeouts", "idle", "600"}, CONFIG_SECONDS, AT(timeouts.idle_ms), RANGE(1, DAY)},
    {{"timeouts", "mx_idle", "60"}, CONFIG_SECONDS, AT(timeouts.mx_idle_ms), RANGE(1, DAY)},
    {{"timeouts", "backend_connect", "10"},
     CONFIG_SECONDS,
     AT(timeouts.backend_connect_ms),
     RANGE(1, DAY)},
    {{"timeouts", "backend_identity", "60"},
     CONFIG_SECONDS,
     AT(timeouts.backend_identity_ms),
     RANGE(1, DAY)},
    {{"timeouts", "backend_reply", "660"},
     CONFIG_SECONDS,
     AT(timeouts.backend_reply_ms),
     RANGE(1, DAY)},
    {{"timeouts", "reload", "86400"}, CONFIG_SECONDS, AT(timeouts.reload_ms), RANGE(1, DAY)},
    {{"timeouts", "drain", "60"}, CONFIG_SECONDS, AT(timeouts.drain_ms), RANGE(0, DAY)},

    {{"admin", "socket", "\"" CONFIG_ADMIN_SOCKET "\""},
     CONFIG_TEXT,
     AT(admin.socket),
     .check = config_check_socket_path},
    {{"admin", "group", "\"postern\""}, CONFIG_TEXT, AT(admin.group)},
    {{"admin", "metrics", "\"\""},
     CONFIG_TEXT,
     AT(admin.metrics),
     .check = config_check_figures_address},
    {{"admin", "allow", "{}"}, CONFIG_NETWORKS, AT(admin.allow)},

    {{"log", "destination", "\"stderr\""},
     CONFIG_CHOICE,
     AT(log.destination),
     .word = destination_word},
    {{"log", "file", "\"/var/log/postern/postern.log\""},
     CONFIG_TEXT,
     AT(log_file),
     .check = config_check_path},
    {{"log", "format", "\"text\""},
     CONFIG_CHOICE,
     AT(log.format),
     .word = format_word,
     .minimum = LOG_FORMAT_TEXT},
    {{"log", "level", "\"info\""}, CONFIG_CHOICE, AT(log.level), .word = level_word},
    {{"log", "messages", "true"}, CONFIG_FLAG, AT(log_messages)},
    {{"log", "recipients", "10"}, CONFIG_NUMBER, AT(log_recipients), RANGE(0, 100)},
};

const size_t config_row_count = sizeof config_rows / sizeof config_rows[0];
_Static_assert(sizeof config_rows / sizeof config_rows[0] <= CONFIG_ROWS_LIMIT,
               "there is room");

const struct config_default_listen config_default_listens[] = {
    {"submissions", "[::]:465", "implicit"},
    {"submission", "[::]:587", "starttls"},
    {"alternate", "[::]:2525", "starttls"},
};
