/* The doctor's reading of PAM's service files: a module that libpam would load is not missed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/doctor_pam_line.h"

static void lines_are_read_as_libpam_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum doctor_pam_kind kind;
        enum doctor_pam_type type;
        bool silent;
        const char *path;
    } cases[] = {
        {"", DOCTOR_PAM_EMPTY, 0, false, ""},
        {" \t # auth required pam_x.so", DOCTOR_PAM_EMPTY, 0, false, ""},
        {"auth required pam_unix.so nullok", DOCTOR_PAM_MODULE, DOCTOR_PAM_AUTH, false,
         "pam_unix.so"},
        {"\tAccount\tSufficient\t/lib/pam_x.so#x", DOCTOR_PAM_MODULE, DOCTOR_PAM_ACCOUNT, false,
         "/lib/pam_x.so"},
        {"-session optional pam_systemd.so", DOCTOR_PAM_MODULE, DOCTOR_PAM_OTHER, true,
         "pam_systemd.so"},
        {"auth [success=2 default=ignore] pam_unix.so", DOCTOR_PAM_MODULE, DOCTOR_PAM_AUTH,
         false, "pam_unix.so"},
        {"auth [a=\\] b=1] pam_x.so", DOCTOR_PAM_MODULE, DOCTOR_PAM_AUTH, false, "pam_x.so"},
        {"auth include common-auth", DOCTOR_PAM_INCLUDE, DOCTOR_PAM_AUTH, false, "common-auth"},
        {"account substack inner", DOCTOR_PAM_INCLUDE, DOCTOR_PAM_ACCOUNT, false, "inner"},
        {"@include common-auth", DOCTOR_PAM_INCLUDE, DOCTOR_PAM_EVERY, false, "common-auth"},
        {"@include", DOCTOR_PAM_BROKEN, DOCTOR_PAM_EVERY, false, ""},
        {"auth required", DOCTOR_PAM_BROKEN, DOCTOR_PAM_AUTH, false, ""},
        {"nonsense required pam_x.so", DOCTOR_PAM_BROKEN, 0, false, ""},
        {"[open", DOCTOR_PAM_BROKEN, 0, false, ""},
        {"auth [open pam_x.so", DOCTOR_PAM_BROKEN, DOCTOR_PAM_AUTH, false, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct doctor_pam_line line;
        doctor_pam_line_parse(cases[i].line, strlen(cases[i].line), &line);
        assert_int_equal(line.kind, cases[i].kind);
        assert_int_equal(line.type, cases[i].type);
        assert_int_equal(line.silent, cases[i].silent);
        assert_string_equal(line.path, cases[i].path);
    }
}

static void line_decides_unless_failures_of_its_module_are_passed_over(void **state)
{
    static const struct {
        const char *control;
        bool decides;
    } cases[] = {
        {"required", true},
        {"Requisite", true},
        {"sufficient", false},
        {"optional", false},
        {"[success=1 default=ignore]", false},
        {"[default=die]", true},
        {"[ default=bad success=ok ]", true},
        {"[success=ok]", true},
        {"[success=ok default=ignore system_err=die]", true},
        {"[default=die system_err=2]", false},
        {"[default=reset]", false},
        {"[xdefault=ignore]", true},
        {"[default]", true},
        {"[]", true},
        {"[", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        struct doctor_pam_line line;
        snprintf(text, sizeof text, "auth %s pam_exec.so /bin/check", cases[i].control);
        doctor_pam_line_parse(text, strlen(text), &line);
        assert_int_equal(line.decides, cases[i].decides);
    }
}

static void path_too_long_is_no_other_path(void **state)
{
    (void)state;
    char text[DOCTOR_PAM_PATH_SIZE + 64] = "auth required ";
    struct doctor_pam_line line;
    memset(text + strlen(text), 'x', DOCTOR_PAM_PATH_SIZE);
    doctor_pam_line_parse(text, strlen(text), &line);
    assert_int_equal(line.kind, DOCTOR_PAM_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_as_libpam_reads_them),
        cmocka_unit_test(line_decides_unless_failures_of_its_module_are_passed_over),
        cmocka_unit_test(path_too_long_is_no_other_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
