/* Names of hosts: what a mail server takes as one, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/base/host_name.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

#define X9  "xxxxxxxxx"
#define X63 X9 X9 X9 X9 X9 X9 X9

static const struct {
    const char *name;
    bool valid;
} cases[] = {
    {"mail.example.org", true},
    {"MAIL.Example.ORG", true},
    {"a", true},
    {"9.example", true},
    {"1.2.3.a", true},
    {"1-2-3-4.dsl.example", true},
    {"a--b.example", true},
    {"x_y.example", true},
    {"_x._y", true},
    {"4x", true},
    {X63 ".example", true},
    {X63 "." X63 "." X63 ".xxxx" X9 X9 X9 X9 X9 X9 "xxx", true}, /* 253 */
    {X63 "." X63 "." X63 ".xxxxx" X9 X9 X9 X9 X9 X9 "xxx", false},
    {X63 "x.example", false},
    {"", false},
    {".", false},
    {"mail.example.org.", false},
    {".example.org", false},
    {"mail..example.org", false},
    {"-a.example", false},
    {"a-.example", false},
    {"a.-b.example", false},
    {"a.b-.example", false},
    {"a.b-", false},
    {"-", false},
    {"1.2.3.4", false},
    {"12345", false},
    {"mail.example.123", false},
    {"a b.example", false},
    {"a\r\n.example", false},
    {"a+b.example", false},
    {"[127.0.0.1]", false},
    {"::1", false},
    {"m\xc3\xbcller.example", false},
    {"a\x7f.example", false},
    {"\xe1\x85\x9f.example", false},
    {"a/b", false},
    {"a:b", false},
    {"a@b", false},
    {"a`b", false},
    {"a{b", false},
    {"a[b", false},
};

static void test_only_names_of_hosts_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (host_name_valid(cases[i].name, strlen(cases[i].name)) != cases[i].valid)
            fail_msg("\"%s\"", cases[i].name);
}

static void test_length_counts_and_not_a_nul(void **state)
{
    (void)state;
    assert_false(host_name_valid("a\0b", 3));
    assert_false(host_name_valid("a\0", 2));
    assert_true(host_name_valid("a.b-", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_names_of_hosts_are_taken),
        cmocka_unit_test(test_length_counts_and_not_a_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
