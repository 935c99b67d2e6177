/* Logins through real PAM modules, from services that the test writes. */
#include <glob.h>
#include <security/pam_appl.h>
#include <sys/wait.h>

#include "auth/pam.h"
#include "pam_services.h"
#include "proxy/base/clock.h"
#include "secret_scan.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* The verdict of one login, and how libpam got on. */
static enum pam_login_end last_end;

static struct auth_message_verdict log_in(const char *service, const char *user,
                                          const char *password)
{
    const struct auth_worker_options options = {.service = service,
                                                .configuration_directory = services_directory};
    struct auth_message_request request = {.id = 42, .client_host = "203.0.113.9"};
    struct auth_message_verdict verdict;
    char bytes[AUTH_MESSAGE_LIMIT];

    strcpy(request.user, user);
    strcpy(request.password, password);
    last_end = pam_login(&options, &request, &verdict);
    explicit_bzero(&request, sizeof request);
    assert_int_equal(verdict.id, 42);
    assert_true(auth_message_write_verdict(&verdict, bytes) > 0);
    return verdict;
}

/* Where Debian's libpam-wrapper keeps its modules. */
static const char *wrapper_module(const char *name)
{
    static char path[256];
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof pattern, "/usr/lib*/*/pam_wrapper/%s", name);
    if (glob(pattern, 0, NULL, &found) != 0)
        fail_msg("%s is missing: install libpam-wrapper", name);
    snprintf(path, sizeof path, "%s", found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static void test_permitted_login_is_accepted(void **state)
{
    (void)state;
    services_write("permit", 0644,
                   "auth required pam_permit.so\n"
                   "account required pam_permit.so\n");
    struct auth_message_verdict verdict = log_in("permit", "alice", "secret");
    assert_int_equal(verdict.result, AUTH_ACCEPTED);
    assert_string_equal(verdict.login, "alice");
    assert_int_equal(verdict.delay_ms, 0);
}

static void test_denied_login_is_rejected_with_its_cause(void **state)
{
    (void)state;
    services_write("deny", 0644,
                   "auth required pam_deny.so\n"
                   "account required pam_permit.so\n");
    struct auth_message_verdict verdict = log_in("deny", "alice", "secret");
    assert_int_equal(verdict.result, AUTH_REJECTED);
    assert_string_equal(verdict.login, "");
    assert_string_equal(verdict.reason, "pam_authenticate: Authentication failure");
}

/* Threat 16. */
static void test_modules_hear_who_and_from_where(void **state)
{
    (void)state;
    services_write("check", 0755,
                   "#!/bin/sh\n"
                   "read -r password\n"
                   "test \"$PAM_USER/$PAM_RHOST/$PAM_TTY/$PAM_SERVICE/$PAM_TYPE/$password\" = "
                   "'alice/203.0.113.9/smtp/exec/auth/s3cret word'\n");
    services_write("exec", 0644,
                   "auth required pam_exec.so quiet expose_authtok %s/check\n"
                   "account required pam_permit.so\n",
                   services_directory);
    assert_int_equal(log_in("exec", "alice", "s3cret word").result, AUTH_ACCEPTED);
    assert_int_equal(log_in("exec", "alice", "s3cret wort").result, AUTH_UNAVAILABLE);
    assert_int_equal(log_in("exec", "bob", "s3cret word").result, AUTH_UNAVAILABLE);
}

static void write_passwords(void)
{
    services_write("passwords", 0644, "alice:secret:matrix\nbob:secret:elsewhere\n");
}

/* Threat 16: bob's password is right, and yet he may not. */
static void test_refused_account_does_not_log_in(void **state)
{
    (void)state;
    write_passwords();
    const char *module = wrapper_module("pam_matrix.so");
    services_write("matrix", 0644,
                   "auth required %s verbose passdb=%s/passwords\n"
                   "account required %s passdb=%s/passwords\n",
                   module, services_directory, module, services_directory);
    assert_int_equal(log_in("matrix", "alice", "secret").result, AUTH_ACCEPTED);
    assert_int_equal(log_in("matrix", "alice", "wrong").result, AUTH_REJECTED);
    struct auth_message_verdict verdict = log_in("matrix", "bob", "secret");
    assert_int_equal(verdict.result, AUTH_REJECTED);
    assert_memory_equal(verdict.reason, "pam_acct_mgmt: ", 15);
}

/* With echo on it is the user name that is asked for, whatever the prompt says. */
static void test_password_is_not_given_to_a_prompt_with_echo(void **state)
{
    (void)state;
    services_write("echo-passwords", 0644, "alice:alice:echo\n");
    const char *module = wrapper_module("pam_matrix.so");
    services_write("echo", 0644,
                   "auth required %s echo passdb=%s/echo-passwords\n"
                   "account required pam_permit.so\n",
                   module, services_directory);
    assert_int_equal(log_in("echo", "alice", "other").result, AUTH_ACCEPTED);
}

/* In a process of its own: the module loses the answers that it is given. */
static int log_in_apart(const char *service)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit((int)log_in(service, "alice", "secret").result);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_what_modules_tell_is_passed_over(void **state)
{
    (void)state;
    services_write("chatty", 0644,
                   "auth required %s num_lines=5 info error\n"
                   "account required pam_permit.so\n",
                   wrapper_module("pam_chatty.so"));
    assert_int_equal(log_in_apart("chatty"), AUTH_ACCEPTED);
}

/* Threat 12: the login is what PAM makes of the name. */
static void test_login_is_the_name_that_pam_settled_on(void **state)
{
    (void)state;
    services_write("rename", 0644,
                   "auth required %s\n"
                   "account required pam_permit.so\n",
                   wrapper_module("pam_set_items.so"));
    setenv("PAM_USER", "alice@b.test", 1);
    assert_string_equal(log_in("rename", "ALICE", "secret").login, "alice@b.test");
    setenv("PAM_USER", "alice\nuser=root", 1);
    struct auth_message_verdict verdict = log_in("rename", "ALICE", "secret");
    assert_int_equal(verdict.result, AUTH_UNAVAILABLE);
    assert_string_equal(verdict.login, "");
    unsetenv("PAM_USER");
}

/* Promise 6: the wish for a delay is reported and nobody sleeps for it. */
static void test_fail_delay_is_reported_and_not_slept(void **state)
{
    (void)state;
    services_write("slow", 0644,
                   "auth optional pam_faildelay.so delay=8000000\n"
                   "auth required pam_deny.so\n");
    uint64_t start = clock_now_ms();
    struct auth_message_verdict verdict = log_in("slow", "alice", "secret");
    assert_true(clock_now_ms() - start < 2000);
    assert_int_equal(verdict.result, AUTH_REJECTED);
    /* libpam varies it by up to a half, so that it tells nothing. */
    assert_in_range(verdict.delay_ms, 4000, 12000);

    services_write("slower", 0644,
                   "auth optional pam_faildelay.so delay=1000000000\n"
                   "auth required pam_deny.so\n");
    assert_int_equal(log_in("slower", "alice", "secret").delay_ms, AUTH_DELAY_LIMIT_MS);
    services_write("quick", 0644,
                   "auth optional pam_faildelay.so delay=8000000\n"
                   "auth required pam_permit.so\n"
                   "account required pam_permit.so\n");
    assert_int_equal(log_in("quick", "alice", "secret").delay_ms, 0);
}

/* Every code of Linux-PAM, its name for pam_debug, and what the client is to hear. */
static const struct {
    int code;
    const char *name;
    enum auth_result expected;
} codes[] = {
    {PAM_SUCCESS, "success", AUTH_ACCEPTED},
    {PAM_OPEN_ERR, "open_err", AUTH_UNAVAILABLE},
    {PAM_SYMBOL_ERR, "symbol_err", AUTH_UNAVAILABLE},
    {PAM_SERVICE_ERR, "service_err", AUTH_UNAVAILABLE},
    {PAM_SYSTEM_ERR, "system_err", AUTH_UNAVAILABLE},
    {PAM_BUF_ERR, "buf_err", AUTH_UNAVAILABLE},
    {PAM_PERM_DENIED, "perm_denied", AUTH_REJECTED},
    {PAM_AUTH_ERR, "auth_err", AUTH_REJECTED},
    {PAM_CRED_INSUFFICIENT, "cred_insufficient", AUTH_UNAVAILABLE},
    {PAM_AUTHINFO_UNAVAIL, "authinfo_unavail", AUTH_UNAVAILABLE},
    {PAM_USER_UNKNOWN, "user_unknown", AUTH_REJECTED},
    {PAM_MAXTRIES, "maxtries", AUTH_REJECTED},
    {PAM_NEW_AUTHTOK_REQD, "new_authtok_reqd", AUTH_REJECTED},
    {PAM_ACCT_EXPIRED, "acct_expired", AUTH_REJECTED},
    {PAM_SESSION_ERR, "session_err", AUTH_UNAVAILABLE},
    {PAM_CRED_UNAVAIL, "cred_unavail", AUTH_UNAVAILABLE},
    {PAM_CRED_EXPIRED, "cred_expired", AUTH_REJECTED},
    {PAM_CRED_ERR, "cred_err", AUTH_REJECTED},
    {PAM_NO_MODULE_DATA, "no_module_data", AUTH_UNAVAILABLE},
    {PAM_CONV_ERR, "conv_err", AUTH_UNAVAILABLE},
    {PAM_AUTHTOK_ERR, "authtok_err", AUTH_UNAVAILABLE},
    {PAM_AUTHTOK_RECOVERY_ERR, "authtok_recover_err", AUTH_UNAVAILABLE},
    {PAM_AUTHTOK_LOCK_BUSY, "authtok_lock_busy", AUTH_UNAVAILABLE},
    {PAM_AUTHTOK_DISABLE_AGING, "authtok_disable_aging", AUTH_UNAVAILABLE},
    {PAM_TRY_AGAIN, "try_again", AUTH_UNAVAILABLE},
    {PAM_IGNORE, NULL, AUTH_UNAVAILABLE},
    {PAM_ABORT, "abort", AUTH_UNAVAILABLE},
    {PAM_AUTHTOK_EXPIRED, "authtok_expired", AUTH_REJECTED},
    {PAM_MODULE_UNKNOWN, "module_unknown", AUTH_UNAVAILABLE},
    {PAM_BAD_ITEM, "bad_item", AUTH_UNAVAILABLE},
    {PAM_CONV_AGAIN, "conv_again", AUTH_UNAVAILABLE},
    {PAM_INCOMPLETE, "incomplete", AUTH_UNAVAILABLE},
};

/* Promise 8. */
static void test_outage_is_never_a_wrong_password(void **state)
{
    (void)state;
    assert_int_equal(COUNT(codes), _PAM_RETURN_VALUES);
    for (size_t i = 0; i < COUNT(codes); i++)
        assert_int_equal(pam_login_result(codes[i].code), codes[i].expected);
    assert_int_equal(pam_login_result(_PAM_RETURN_VALUES), AUTH_UNAVAILABLE);
    assert_int_equal(pam_login_result(-1), AUTH_UNAVAILABLE);
}

static enum pam_login_end expected_end(int code, enum auth_result result)
{
    if (code == PAM_ABORT || code == PAM_BUF_ERR)
        return PAM_LOGIN_BROKEN;
    return result == AUTH_UNAVAILABLE ? PAM_LOGIN_UNDECIDED : PAM_LOGIN_DECIDED;
}

static void test_outage_in_either_phase_is_told_as_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(codes); i++) {
        if (!codes[i].name)
            continue;
        services_write("outage-auth", 0644,
                       "auth required pam_debug.so auth=%s\n"
                       "account required pam_permit.so\n",
                       codes[i].name);
        services_write("outage-account", 0644,
                       "auth required pam_permit.so\n"
                       "account required pam_debug.so acct=%s\n",
                       codes[i].name);
        if (log_in("outage-auth", "alice", "secret").result != codes[i].expected)
            fail_msg("auth=%s", codes[i].name);
        assert_int_equal(last_end, expected_end(codes[i].code, codes[i].expected));
        if (log_in("outage-account", "alice", "secret").result != codes[i].expected)
            fail_msg("acct=%s", codes[i].name);
        assert_int_equal(last_end, expected_end(codes[i].code, codes[i].expected));
    }
}

static void test_missing_module_is_an_outage(void **state)
{
    (void)state;
    services_write("broken", 0644,
                   "auth required pam_no_such_module.so\n"
                   "account required pam_permit.so\n");
    assert_int_equal(log_in("broken", "alice", "secret").result, AUTH_UNAVAILABLE);
}

static void test_missing_service_is_an_outage(void **state)
{
    static const char *const missing[] = {"no-such-service", "", "../permit"};
    struct auth_worker_options options = {.configuration_directory = services_directory};
    (void)state;
    /* libpam would take this one silently in place of every other. */
    services_write("other", 0644,
                   "auth required pam_permit.so\n"
                   "account required pam_permit.so\n");
    for (size_t i = 0; i < COUNT(missing); i++) {
        options.service = missing[i];
        assert_false(pam_login_prepare(&options));
        assert_int_equal(log_in(missing[i], "alice", "secret").result, AUTH_UNAVAILABLE);
    }
    options.service = "surely-not-on-this-system";
    options.configuration_directory = NULL;
    assert_false(pam_login_prepare(&options));
}

static bool module_loaded(const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    bool found = false;
    assert_non_null(maps);
    while (!found && fgets(line, sizeof line, maps))
        found = strstr(line, name) != NULL;
    fclose(maps);
    return found;
}

static void test_modules_stay_loaded_between_logins(void **state)
{
    const struct auth_worker_options options = {.service = "Warm",
                                                .configuration_directory = services_directory};
    (void)state;
    services_write("warm", 0644,
                   "auth required pam_localuser.so\n"
                   "account required pam_permit.so\n");
    assert_int_equal(log_in("warm", "root", "secret").result, AUTH_ACCEPTED);
    assert_false(module_loaded("pam_localuser.so"));
    assert_true(pam_login_prepare(&options));
    assert_true(module_loaded("pam_localuser.so"));
    assert_int_equal(log_in("Warm", "root", "secret").result, AUTH_ACCEPTED);
    assert_true(module_loaded("pam_localuser.so"));
}

static void __attribute__((noinline)) log_in_with_secret(const char *turned)
{
    char secret[SECRET_LENGTH + 1];
    secret_reveal(turned, secret);
    enum auth_result result = log_in("erase", "alice", secret).result;
    explicit_bzero(secret, sizeof secret);
    assert_int_equal(result, AUTH_REJECTED);
}

/* Promise 7, with a module that asks for the password and overwrites what it got. */
static void test_password_is_nowhere_after_the_verdict(void **state)
{
    char turned[SECRET_LENGTH];
    (void)state;
    services_write("erase", 0644, "auth required pam_unix.so nodelay\n");
    secret_make(turned);
    log_in_with_secret(turned);
    assert_int_equal(secret_count(turned), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permitted_login_is_accepted),
        cmocka_unit_test(test_denied_login_is_rejected_with_its_cause),
        cmocka_unit_test(test_modules_hear_who_and_from_where),
        cmocka_unit_test(test_refused_account_does_not_log_in),
        cmocka_unit_test(test_password_is_not_given_to_a_prompt_with_echo),
        cmocka_unit_test(test_what_modules_tell_is_passed_over),
        cmocka_unit_test(test_login_is_the_name_that_pam_settled_on),
        cmocka_unit_test(test_fail_delay_is_reported_and_not_slept),
        cmocka_unit_test(test_outage_is_never_a_wrong_password),
        cmocka_unit_test(test_outage_in_either_phase_is_told_as_one),
        cmocka_unit_test(test_missing_module_is_an_outage),
        cmocka_unit_test(test_password_is_nowhere_after_the_verdict),
        cmocka_unit_test(test_missing_service_is_an_outage),
        cmocka_unit_test(test_modules_stay_loaded_between_logins),
    };
    return cmocka_run_group_tests(tests, services_open, services_close);
}
