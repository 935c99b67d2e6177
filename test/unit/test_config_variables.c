/* Strings of the configuration that refer to variables of the environment. */
#include "config_file.h"

#include "proxy/config_parser.h"

#define E(text) "postern: error: f:" text "\n"

static void assert_refused(const char *text, const char *wanted)
{
    char errors[8192];
    struct config *config = load_text(text, strlen(text), errors, sizeof errors);
    assert_string_equal(errors, wanted);
    assert_null(config);
}

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void test_a_string_has_the_value_of_the_variable(void **state)
{
    (void)state;
    set("PT_HOST", "mail.example.org");
    set("PT_PORT", "1025");
    set("_Pt2", "certs");
    struct config *config = load_good("hostname = \"${PT_HOST}\"\n"
                                      "tls { certificate = \"/${_Pt2}/${PT_HOST}.pem\"\n"
                                      "      key = \"/k-${_Pt2}${_Pt2}\" }\n"
                                      "backend { address = \"127.0.0.1:${PT_PORT}\" }\n");
    assert_string_equal(config->hostname, "mail.example.org");
    assert_string_equal(config->tls.certificate, "/certs/mail.example.org.pem");
    assert_string_equal(config->tls.key, "/k-certscerts");
    assert_string_equal(config->backends[0].address_text, "127.0.0.1:1025");
    config_free(config);
}

static void test_numbers_flags_times_lists_and_titles_may_refer_to_one(void **state)
{
    (void)state;
    set("PT_N", "3");
    set("PT_TIME", "5m");
    set("PT_FLAG", "yes");
    set("PT_MECHANISM", "login");
    set("PT_TITLE", "people");
    struct config *config = load_good(
        TLS "workers = \"${PT_N}\"\ntimeouts { idle = \"${PT_TIME}\" }\n"
            "auth { mechanisms = {\"${PT_MECHANISM}\"} legacy_ehlo = \"${PT_FLAG}\" }\n"
            "listen \"${PT_TITLE}\" { address = \"*:1465\" }\n");
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->timeouts.idle_ms, 300000);
    assert_int_equal(config->auth.mechanisms, 1u << 1);
    assert_string_equal(config->listens[0].name, "people");
    assert_true(config->auth.legacy_ehlo);
    config_free(config);
}

/* Quotes, braces, comments and references in a value are characters of the one string. */
static void test_a_value_is_never_read_as_configuration(void **state)
{
    (void)state;
    set("PT_EVIL", "/c\" } admin { socket = \"/x\" } # ${PT_EVIL} \\ ' {} ");
    struct config *config =
        load_good("tls { certificate = \"${PT_EVIL}\" key = \"/k.pem\" }\nworkers = 2\n");
    assert_string_equal(config->tls.certificate,
                        "/c\" } admin { socket = \"/x\" } # ${PT_EVIL} \\ ' {} ");
    assert_int_equal(config->workers, 2);
    config_free(config);
}

static void test_a_value_with_a_line_end_is_refused(void **state)
{
    (void)state;
    set("PT_LINES", "/c.pem\nuser = \"root\"");
    assert_refused("tls { certificate = \"${PT_LINES}\"\n key = \"/k.pem\" }\n",
                   E("1:22: tls: certificate: the variable PT_LINES has a control character, "
                     "such as a line end"));
}

static void test_what_is_not_set_or_empty_is_named_with_its_place(void **state)
{
    (void)state;
    set("PT_EMPTY", "");
    unsetenv("PT_NONE");
    assert_refused(TLS "hostname = \"mail.${PT_NONE}\"\nuser = \"${PT_EMPTY}\"\nworkers = 0\n",
                   E("2:18: hostname: the variable PT_NONE is not set in the environment")
                       E("3:9: user: the variable PT_EMPTY is empty")
                           E("4:11: workers: 0 is not from 1 to 256"));
}

static void test_a_title_and_an_include_name_their_variable(void **state)
{
    (void)state;
    unsetenv("PT_NONE");
    assert_refused(TLS "listen \"${PT_NONE}\" { address = \"*:1465\" }\n",
                   E("2:9: the variable PT_NONE is not set in the environment"));
    assert_refused(TLS "include \"${PT_NONE}/a.conf\"\n",
                   E("2:10: the variable PT_NONE is not set in the environment"));
}

static void test_what_is_no_reference_is_told(void **state)
{
    (void)state;
    static const char why[] =
        "a reference to a variable is written as ${NAME}; in single quotes it is plain text";
    static const char *const texts[] = {"${}", "${1A}",    "${A-b}", "${A:-b}", "${ A}",
                                        "${A", "${A\xc3}", "${",     "${A${B}}"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        char text[256], wanted[256];
        snprintf(text, sizeof text, TLS "hostname = \"a%s\"\n", texts[i]);
        snprintf(wanted, sizeof wanted, E("2:14: hostname: %s"), why);
        assert_refused(text, wanted);
    }
}

static void test_a_dollar_sign_can_be_meant(void **state)
{
    (void)state;
    set("PT_A", "x");
    static const struct {
        const char *written, *meant;
    } table[] = {
        {"\"/$PT_A/a$\"", "/$PT_A/a$"},       {"\"/\\${PT_A}\"", "/${PT_A}"},
        {"\"/\\\\${PT_A}\"", "/\\x"},         {"\"/$${PT_A}\"", "/$x"},
        {"'/${PT_A}${'", "/${PT_A}${"},       {"\"/\\$\\$\"", "/$$"},
        {"\"/${PT_A}\\\"${PT_A}\"", "/x\"x"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        char text[256];
        snprintf(text, sizeof text, "tls { certificate = %s key = \"/k\" }\n",
                 table[i].written);
        struct config *config = load_good(text);
        assert_string_equal(config->tls.certificate, table[i].meant);
        config_free(config);
    }
}

static void test_a_string_does_not_grow_without_end(void **state)
{
    (void)state;
    static char value[CONFIG_EXPANDED_LIMIT + 1], text[CONFIG_EXPANDED_LIMIT + 256];
    memset(value, 'a', sizeof value - 1);
    set("PT_LONG", value);
    snprintf(text, sizeof text, "tls { certificate = \"${PT_LONG}\" key = \"/k\" }\n");
    struct config *config = load_good(text);
    assert_string_equal(config->tls.certificate, value);
    config_free(config);
    static const char *const longer[] = {"${PT_LONG}b", "b${PT_LONG}", "${PT_LONG}${PT_LONG}"};
    static const unsigned columns[] = {32, 23, 32};
    for (size_t i = 0; i < COUNT(longer); i++) {
        char wanted[256];
        snprintf(text, sizeof text, "tls { certificate = \"%s\"\nkey = \"/k\" }\n", longer[i]);
        snprintf(
            wanted, sizeof wanted,
            E("1:%u: tls: certificate: with its variables the string has more than 4096 bytes"),
            columns[i]);
        assert_refused(text, wanted);
    }
    size_t length = strlen("user = \"") + CONFIG_EXPANDED_LIMIT + 1;
    memset(text, 'b', length);
    memcpy(text, "user = \"", strlen("user = \""));
    snprintf(text + length, sizeof text - length, "${PT_A}\"\n");
    unsetenv("PT_LONG");
    char errors[8192];
    set("PT_A", "x");
    assert_null(load_text(text, strlen(text), errors, sizeof errors));
    assert_non_null(
        strstr(errors, "1:4106: user: with its variables the string has more than"));
}

static void test_a_secret_is_in_no_message(void **state)
{
    (void)state;
    char errors[8192];
    set("PT_SECRET", "hunter2");
    static const char text[] =
        TLS "limits { shared = \"redis:/:${PT_SECRET}@127.0.0.1:6379/0\" }\n";
    assert_null(load_text(text, strlen(text), errors, sizeof errors));
    assert_non_null(strstr(errors, "f:2:19: limits: shared: "));
    assert_null(strstr(errors, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_string_has_the_value_of_the_variable),
        cmocka_unit_test(test_numbers_flags_times_lists_and_titles_may_refer_to_one),
        cmocka_unit_test(test_a_value_is_never_read_as_configuration),
        cmocka_unit_test(test_a_value_with_a_line_end_is_refused),
        cmocka_unit_test(test_what_is_not_set_or_empty_is_named_with_its_place),
        cmocka_unit_test(test_a_title_and_an_include_name_their_variable),
        cmocka_unit_test(test_what_is_no_reference_is_told),
        cmocka_unit_test(test_a_dollar_sign_can_be_meant),
        cmocka_unit_test(test_a_string_does_not_grow_without_end),
        cmocka_unit_test(test_a_secret_is_in_no_message),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
