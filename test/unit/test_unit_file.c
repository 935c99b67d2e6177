/* What a unit of systemd and its drop-ins allow, as systemd.exec(5) has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/capabilities.h"
#include "proxy/unit_file.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define DAC          CAPABILITY(CAP_DAC_OVERRIDE)
#define KILL         CAPABILITY(CAP_KILL)

static struct unit_file read_text(const char *text)
{
    struct unit_file unit = {0};
    unit_file_read(&unit, text, strlen(text));
    return unit;
}

static void test_sets_of_capabilities_add_up_as_systemd_adds_them(void **state)
{
    static const struct {
        const char *text;
        bool dac, kill;
    } sets[] = {
        {"[Service]\n", true, true},
        {"CapabilityBoundingSet=CAP_SETUID\n", false, false},
        {"CapabilityBoundingSet=CAP_KILL CAP_SETUID\n", false, true},
        {"CapabilityBoundingSet=cap_kill\nCapabilityBoundingSet=CAP_DAC_OVERRIDE\n", true,
         true},
        {"CapabilityBoundingSet=~CAP_KILL\n", true, false},
        {"CapabilityBoundingSet=CAP_KILL CAP_DAC_OVERRIDE\nCapabilityBoundingSet=~CAP_KILL\n",
         true, false},
        {"CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=\n", false, false},
        {"CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL\n", false, true},
        {"CapabilityBoundingSet=CAP_SETUID\nCapabilityBoundingSet=~\n", true, true},
        {"CapabilityBoundingSet=CAP_SETUID \\\n  CAP_KILL", false, true},
        {" CapabilityBoundingSet = CAP_KILL \r\n", false, true},
        {"#CapabilityBoundingSet=CAP_KILL\n;CapabilityBoundingSet=CAP_KILL\n", true, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(sets); i++) {
        struct unit_file unit = read_text(sets[i].text);
        assert_int_equal(unit_file_allows(&unit, DAC), sets[i].dac);
        assert_int_equal(unit_file_allows(&unit, KILL), sets[i].kill);
        assert_int_equal(unit_file_allows(&unit, DAC | KILL), sets[i].dac && sets[i].kill);
    }
}

static void test_the_last_word_about_homes_counts(void **state)
{
    (void)state;
    assert_true(read_text("ProtectHome=yes\n").hides_homes);
    assert_true(read_text("ProtectHome=tmpfs\n").hides_homes);
    assert_false(read_text("ProtectHome=yes\nProtectHome=read-only\n").hides_homes);
    assert_false(read_text("ProtectHome=yes\nProtectHome=no\n").hides_homes);
    assert_true(read_text("PrivateTmp=true\n").private_tmp);
    assert_false(read_text("PrivateTmp=off\n").private_tmp);
}

static void test_configuration_is_that_of_the_last_start(void **state)
{
    (void)state;
    assert_string_equal(read_text("ExecStart=/usr/sbin/postern -c /a.conf\n").configuration,
                        "/a.conf");
    assert_string_equal(
        read_text("ExecStart=/x -c /a.conf\nExecStart=\nExecStart=/x --config /b\n")
            .configuration,
        "/b");
    assert_string_equal(read_text("ExecStart=/x -c").configuration, "");
    assert_string_equal(read_text("ExecReload=/x -c /a.conf -n\n").configuration, "");
}

static void test_writable_paths_are_whole_directories(void **state)
{
    struct unit_file unit = read_text("ProtectSystem=strict\nLogsDirectory=postern\n"
                                      "ReadWritePaths=-/run/faillock /srv/x\n");
    (void)state;
    assert_true(unit_file_may_write(&unit, "/var/log/postern/postern.log"));
    assert_true(unit_file_may_write(&unit, "/run/faillock/alice"));
    assert_true(unit_file_may_write(&unit, "/srv/x"));
    assert_false(unit_file_may_write(&unit, "/srv/xy"));
    assert_false(unit_file_may_write(&unit, "/var/log/mail.log"));
    unit = read_text("ProtectSystem=full\n");
    assert_true(unit_file_may_write(&unit, "/srv/x"));
}

static void test_hard_limit_of_descriptors_counts(void **state)
{
    static const struct {
        const char *text;
        uint64_t descriptors;
    } limits[] = {
        {"[Service]\n", 0},
        {"LimitNOFILE=65536\n", 65536},
        {"LimitNOFILE=1024:524288\n", 524288},
        {"LimitNOFILE=infinity\n", UINT64_MAX},
        {"LimitNOFILE=1024\nLimitNOFILE=2048\n", 2048},
        {"LimitNOFILE=1024\nLimitNOFILE=\n", 0},
        {"LimitNOFILE=1024\nLimitNOFILE=many\n", 1024},
        {"LimitNOFILE=99999999999999999999999\n", 0},
        {"#LimitNOFILE=1024\n", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(limits); i++)
        assert_int_equal(read_text(limits[i].text).descriptors, limits[i].descriptors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets_of_capabilities_add_up_as_systemd_adds_them),
        cmocka_unit_test(test_the_last_word_about_homes_counts),
        cmocka_unit_test(test_configuration_is_that_of_the_last_start),
        cmocka_unit_test(test_writable_paths_are_whole_directories),
        cmocka_unit_test(test_hard_limit_of_descriptors_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
