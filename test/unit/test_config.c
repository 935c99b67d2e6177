/* The configuration file: its defaults, and every value. */
#include "config_file.h"

static void test_certificate_and_key_are_enough(void **state)
{
    (void)state;
    struct config *config = load_good(TLS);
    assert_string_equal(config->path, path);
    assert_true(config->hostname[0] != '\0');
    assert_string_equal(config->user, "postern");
    assert_int_equal(config->workers, 1);
    assert_int_equal(config->bare_newline, CONFIG_BARE_NEWLINE_NORMALIZE);
    assert_string_equal(config->tls.certificate, "/c.pem");
    assert_string_equal(config->tls.key, "/k.pem");
    assert_string_equal(config->tls.minimum, "1.2");
    assert_string_equal(config->tls.groups, "X25519:P-256:P-384");
    assert_true(config->tls.tickets);
    assert_int_equal(config->auth.mechanisms,
                     1u << SASL_PLAIN | 1u << SASL_LOGIN | 1u << SASL_EXTERNAL);
    assert_string_equal(config->auth.pam_service, "postern");
    assert_string_equal(config->auth.pam_confdir, "");
    assert_int_equal(config->auth.timeout_ms, 30000);
    assert_int_equal(config->auth.failure_delay_ms, 2000);
    assert_false(config->auth.legacy_ehlo);
    assert_string_equal(config->backends[0].address_text, "127.0.0.1:25");
    assert_int_equal(address_port(&config->backends[0].address), 25);
    assert_int_equal(config->backends[0].identity, CONFIG_IDENTITY_AUTO);
    assert_int_equal(config->backends[0].required,
                     1u << SMTP_XCLIENT_ADDR | 1u << SMTP_XCLIENT_LOGIN);
    assert_int_equal(config->limits.connections, 10000);
    assert_int_equal(config->timeouts.backend_reply_ms, 660000);
    assert_int_equal(config->log.destination, LOG_TO_STDERR);
    assert_int_equal(config->log.format, LOG_FORMAT_TEXT);
    assert_int_equal(config->log.level, LOG_LEVEL_INFO);
    config_free(config);
    config_free(NULL);
}

static void test_without_listeners_there_are_the_three_usual_ones(void **state)
{
    static const struct {
        const char *name, *address;
        enum config_tls_mode tls;
    } wanted[] = {{"submissions", "[::]:465", CONFIG_TLS_IMPLICIT},
                  {"submission", "[::]:587", CONFIG_TLS_STARTTLS},
                  {"alternate", "[::]:2525", CONFIG_TLS_STARTTLS}};
    (void)state;
    struct config *config = load_good(TLS);
    assert_int_equal(config->listen_count, COUNT(wanted));
    for (size_t i = 0; i < COUNT(wanted); i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_text(&config->listens[i].address, text);
        assert_string_equal(text, wanted[i].address);
        assert_string_equal(config->listens[i].name, wanted[i].name);
        assert_int_equal(config->listens[i].tls, wanted[i].tls);
    }
    config_free(config);
}

static void check_auth_and_backend(const struct config *config)
{
    assert_int_equal(config->auth.mechanisms, 1u << SASL_LOGIN);
    assert_string_equal(config->auth.pam_service, "s");
    assert_string_equal(config->auth.pam_confdir, "/p");
    assert_string_equal(config->auth.user, "u");
    assert_int_equal(config->auth.workers, 9);
    assert_int_equal(config->auth.share, 8);
    assert_int_equal(config->auth.queue, 7);
    assert_int_equal(config->auth.timeout_ms, 6000);
    assert_int_equal(config->auth.failure_delay_ms, 0);
    assert_int_equal(config->auth.attempts, 5);
    assert_true(config->auth.legacy_ehlo);
    assert_int_equal(config->backends[0].address.any.sa_family, AF_UNIX);
    assert_int_equal(config->backends[0].identity, CONFIG_IDENTITY_XCLIENT);
    assert_int_equal(config->backends[0].required, 1u << SMTP_XCLIENT_LOGIN);
}

static void check_numbers_and_log(const struct config *config)
{
    assert_int_equal(config->limits.connections, 4);
    assert_int_equal(config->limits.connections_per_address, 0);
    assert_int_equal(config->limits.mx_sessions_per_address, 7);
    assert_int_equal(config->limits.errors, 2);
    assert_int_equal(config->timeouts.handshake_ms, 1000);
    assert_int_equal(config->timeouts.greeting_ms, 2000);
    assert_int_equal(config->timeouts.login_ms, 3000);
    assert_int_equal(config->timeouts.idle_ms, 4000);
    assert_int_equal(config->timeouts.mx_idle_ms, 3000);
    assert_int_equal(config->timeouts.backend_connect_ms, 5000);
    assert_int_equal(config->timeouts.backend_identity_ms, 6000);
    assert_int_equal(config->timeouts.backend_reply_ms, 86400000);
    assert_int_equal(config->timeouts.drain_ms, 0);
    assert_int_equal(config->log.destination, LOG_TO_SYSLOG);
    assert_int_equal(config->log.format, LOG_FORMAT_JSON);
    assert_int_equal(config->log.level, LOG_LEVEL_DEBUG);
}

static void test_everything_that_is_written_arrives(void **state)
{
    (void)state;
    struct config *config = load_good(
        "hostname = \"mail.example.org\" user = 'me' workers = 3 bare_newline = \"REJECT\"\r\n"
        "nameservers = {\"192.0.2.53\", \"[2001:db8::53]:5353\"}\n"
        "tls { certificate = \"/a \\\"b\\\\\" key = '/k' minimum = \"1.3\" tickets = no\n"
        "  ciphers = \"C\" ciphersuites = \"S\" groups = \"G\" }\n"
        "listen one { tls = implicit address = \"192.0.2.1:465\" }\n"
        "listen \"two\" { address = \"*:587\" } // starttls by default\n"
        "auth { mechanisms = {\"login\",\n\"LOGIN\"} pam_service = s pam_confdir = \"/p\"\n"
        "  user = \"u\" workers = 9 share = 8 queue = 7 timeout = 6 failure_delay = 0\n"
        "  attempts = 5 legacy_ehlo = on }\n"
        "backend { address = \"unix:/run/mta\" identity = xclient\n"
        "  identity_required = \"LOGIN\" }\n"
        "limits { connections = 4 connections_per_address = 0 errors = 2\n"
        "  mx_sessions_per_address = 7 }\n"
        "timeouts { handshake = 1 greeting = 2 login = 3 idle = 4 mx_idle = 3\n"
        "  backend_connect = 5\n"
        "  backend_identity = 6 backend_reply = 86400 drain = 0 }\n"
        "log { destination = syslog format = json level = debug }\n");
    assert_string_equal(config->hostname, "mail.example.org");
    assert_string_equal(config->user, "me");
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->bare_newline, CONFIG_BARE_NEWLINE_REJECT);
    assert_int_equal(config->nameservers.count, 2);
    assert_string_equal(config->nameservers.text[1], "[2001:db8::53]:5353");
    assert_string_equal(config->tls.certificate, "/a \"b\\");
    assert_string_equal(config->tls.minimum, "1.3");
    assert_string_equal(config->tls.ciphers, "C");
    assert_string_equal(config->tls.ciphersuites, "S");
    assert_string_equal(config->tls.groups, "G");
    assert_false(config->tls.tickets);
    assert_int_equal(config->listen_count, 2);
    assert_string_equal(config->listens[0].name, "one");
    assert_string_equal(config->listens[0].address_text, "192.0.2.1:465");
    assert_int_equal(config->listens[0].tls, CONFIG_TLS_IMPLICIT);
    assert_string_equal(config->listens[1].name, "two");
    assert_int_equal(config->listens[1].tls, CONFIG_TLS_STARTTLS);
    check_auth_and_backend(config);
    check_numbers_and_log(config);
    config_free(config);
}

static void test_backends_have_names_and_listeners_choose_among_them(void **state)
{
    (void)state;
    struct config *config = load_good(TLS "listen a { address = \"*:1\" backend = {\"two\", "
                                          "\"default\"} backend_order = balance }\n"
                                          "listen b { address = \"*:2\" backend = {} }\n"
                                          "backend { address = \"127.0.0.1:26\" }\n"
                                          "backend \"two\" { address = \"127.0.0.1:27\" }\n");
    assert_int_equal(config->backend_count, 2);
    assert_string_equal(config->backends[0].name, "default");
    assert_string_equal(config->backends[1].name, "two");
    assert_int_equal(address_port(&config->backends[1].address), 27);
    assert_int_equal(config->listens[0].backend_count, 2);
    assert_int_equal(config->listens[0].backends[0], 1);
    assert_int_equal(config->listens[0].backends[1], 0);
    assert_int_equal(config->listens[0].backend_order, CONFIG_ORDER_BALANCE);
    assert_int_equal(config->listens[1].backend_count, 1);
    assert_int_equal(config->listens[1].backends[0], 0);
    config_free(config);
}

static void test_list_that_is_emptied_is_empty(void **state)
{
    (void)state;
    struct config *config = load_good(TLS "limits { exempt = { } }\n");
    assert_int_equal(config->exempt.count, 0);
    config_free(config);
    config = load_good(TLS "limits { exempt = {\n\"10.0.0.0/8\" } }\n");
    assert_int_equal(config->exempt.count, 1);
    config_free(config);
    config = load_good(TLS);
    assert_int_equal(config->exempt.count, 2);
    config_free(config);
}

/* As long as a path to a socket may be, with ".new" after it. */
static void test_longest_path_of_a_socket_is_taken(void **state)
{
    char text[512], name[102], errors[8192];
    (void)state;
    memset(name, 'x', sizeof name - 1);
    name[0] = '/';
    name[100] = '\0';
    snprintf(text, sizeof text, TLS "admin { socket = \"%s\" }\n", name);
    struct config *config = load_good(text);
    assert_string_equal(config->admin.socket, name);
    config_free(config);

    name[100] = 'x';
    name[101] = '\0';
    snprintf(text, sizeof text, TLS "admin { socket = \"%s\" }\n", name);
    assert_null(load_text(text, strlen(text), errors, sizeof errors));
    assert_non_null(strstr(errors, "is longer than 100 characters"));
}

static void test_figures_are_for_this_host(void **state)
{
    static const char *const addresses[] = {"127.0.0.1:9125", "127.9.9.9:1", "[::1]:9125"};
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        char text[256];
        snprintf(text, sizeof text, TLS "admin { metrics = \"%s\" }\n", addresses[i]);
        config_free(load_good(text));
    }
}

static void test_figures_are_for_the_networks_that_are_named(void **state)
{
    static const char *const addresses[] = {"192.0.2.1:9125", "*:9125", "[2001:db8::1]:9125"};
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        char text[256];
        snprintf(text, sizeof text,
                 TLS "admin { metrics = \"%s\" allow = {\"10.0.0.0/8\", \"2001:db8::/32\"} }\n",
                 addresses[i]);
        struct config *config = load_good(text);
        assert_int_equal(config->admin.allow.count, 2);
        config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificate_and_key_are_enough),
        cmocka_unit_test(test_without_listeners_there_are_the_three_usual_ones),
        cmocka_unit_test(test_everything_that_is_written_arrives),
        cmocka_unit_test(test_backends_have_names_and_listeners_choose_among_them),
        cmocka_unit_test(test_list_that_is_emptied_is_empty),
        cmocka_unit_test(test_longest_path_of_a_socket_is_taken),
        cmocka_unit_test(test_figures_are_for_this_host),
        cmocka_unit_test(test_figures_are_for_the_networks_that_are_named),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
