/* Queries: what is understood, and what is refused rather than guessed at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/admin/query.h"

#define FILTERS                                                                                \
    (1u << ADMIN_PARAMETER_ID | 1u << ADMIN_PARAMETER_USER | 1u << ADMIN_PARAMETER_ADDRESS)

static const char *parse(const char *text, struct admin_query *out)
{
    return admin_query_parse(text, strlen(text), FILTERS, out);
}

static void test_values_are_decoded(void **state)
{
    static const struct {
        const char *text, *user, *address;
    } cases[] = {
        {"", NULL, NULL},
        {"user=alice", "alice", NULL},
        {"address=2001:db8::1&user=alice%40example.org", "alice@example.org", "2001:db8::1"},
        {"user=a+b%2Bc", "a b+c", NULL},
        {"user=a=b", "a=b", NULL},
        {"user=a;id=1", "a;id=1", NULL},
        {"user=%c3%BC", "\xc3\xbc", NULL},
        {"user=%0d%0a", "\r\n", NULL},
    };
    struct admin_query query;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_null(parse(cases[i].text, &query));
        assert_int_equal(query.given[ADMIN_PARAMETER_USER], cases[i].user != NULL);
        assert_string_equal(query.value[ADMIN_PARAMETER_USER],
                            cases[i].user ? cases[i].user : "");
        assert_int_equal(query.given[ADMIN_PARAMETER_ADDRESS], cases[i].address != NULL);
        assert_string_equal(query.value[ADMIN_PARAMETER_ADDRESS],
                            cases[i].address ? cases[i].address : "");
    }
}

static void test_each_parameter_is_taken_where_it_may_be(void **state)
{
    (void)state;
    for (int i = 0; i < ADMIN_PARAMETERS; i++) {
        char text[64];
        struct admin_query query;
        snprintf(text, sizeof text, "%s=7", admin_parameter_name((enum admin_parameter)i));
        assert_null(admin_query_parse(text, strlen(text), 1u << i, &query));
        assert_true(query.given[i]);
        assert_string_equal(query.value[i], "7");
        assert_non_null(admin_query_parse(text, strlen(text), ~(1u << i), &query));
    }
}

/* "?usr=bob" must not end everybody's session. */
static void test_what_is_not_understood_is_refused(void **state)
{
    static const char *const cases[] = {
        "usr=alice", "USER=alice",   "user",          "user=",     "=alice",  "&user=alice",
        "user=a&",   "user=a&&id=1", "user=a&user=b", "user=%",    "user=%4", "user=%4g",
        "user=%00",  "level=debug",  "?user=alice",   "user=a#x&",
    };
    static const struct admin_query nothing;
    struct admin_query query;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!parse(cases[i], &query))
            fail_msg("\"%s\" was taken", cases[i]);
        assert_memory_equal(&query, &nothing, sizeof query);
    }
}

static void test_a_value_has_a_longest_length(void **state)
{
    char text[400];
    struct admin_query query;
    (void)state;
    snprintf(text, sizeof text, "user=%0*d", ADMIN_QUERY_VALUE_SIZE - 1, 1);
    assert_null(parse(text, &query));
    snprintf(text, sizeof text, "user=%0*d", ADMIN_QUERY_VALUE_SIZE, 1);
    assert_string_equal(parse(text, &query), "a value is too long");
}

static void test_every_parameter_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < ADMIN_PARAMETERS; i++)
        assert_non_null(admin_parameter_name((enum admin_parameter)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_decoded),
        cmocka_unit_test(test_each_parameter_is_taken_where_it_may_be),
        cmocka_unit_test(test_what_is_not_understood_is_refused),
        cmocka_unit_test(test_a_value_has_a_longest_length),
        cmocka_unit_test(test_every_parameter_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
