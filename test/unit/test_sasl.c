/* PLAIN and LOGIN as clients speak them, well and badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "auth/sasl.h"
#include "secret_scan.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Bytes that a client encodes, NULs included. */
struct raw {
    const char *bytes;
    size_t length;
};
#define RAW(literal)                                                                           \
    {                                                                                          \
        literal, sizeof(literal) - 1                                                           \
    }

#define ENCODED_SIZE 8192

static size_t encode(const char *bytes, size_t length, char out[static ENCODED_SIZE])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (size_t i = 0; i < length; i += 3) {
        unsigned bits = 0;
        for (size_t j = i; j < i + 3; j++)
            bits = bits << 8 | (j < length ? (unsigned char)bytes[j] : 0);
        for (size_t j = 0; j < 4; j++)
            out[at++] = i + j > length ? '=' : alphabet[bits >> (18 - 6 * j) & 63];
    }
    return at;
}

static enum sasl_status start_raw(struct sasl *sasl, enum sasl_mechanism mechanism,
                                  struct raw raw, const char **challenge)
{
    char text[ENCODED_SIZE];
    return sasl_start(sasl, mechanism, text, encode(raw.bytes, raw.length, text), challenge);
}

static enum sasl_status continue_raw(struct sasl *sasl, struct raw raw, const char **challenge)
{
    char text[ENCODED_SIZE];
    return sasl_continue(sasl, text, encode(raw.bytes, raw.length, text), challenge);
}

static void assert_no_secret(const struct sasl *sasl)
{
    const char blank[sizeof sasl->password] = {0};
    assert_memory_equal(sasl->password, blank, sizeof blank);
}

static const struct {
    const char *name;
    struct raw message;
    enum sasl_status status;
} plain_cases[] = {
    {"ordinary", RAW("\0alice\0secret"), SASL_CREDENTIALS},
    {"authorization identity is the user", RAW("alice\0alice\0secret"), SASL_CREDENTIALS},
    {"password with any byte", RAW("\0alice\0\x01\r\n\xff "), SASL_CREDENTIALS},
    {"UTF-8", RAW("\0j\xc3\xb6rg@b.test\0pw"), SASL_CREDENTIALS},
    {"one byte each", RAW("\0a\0b"), SASL_CREDENTIALS},
    {"threat 12: acts for another", RAW("bob\0alice\0pw"), SASL_REFUSED},
    {"threat 12: other case", RAW("Alice\0alice\0pw"), SASL_REFUSED},
    {"threat 12: a prefix", RAW("alic\0alice\0pw"), SASL_REFUSED},
    {"threat 12: longer", RAW("alice2\0alice\0pw"), SASL_REFUSED},
    {"nothing", RAW(""), SASL_MALFORMED},
    {"no NUL", RAW("alice"), SASL_MALFORMED},
    {"one NUL", RAW("alice\0secret"), SASL_MALFORMED},
    {"only NULs", RAW("\0\0"), SASL_MALFORMED},
    {"no user", RAW("\0\0secret"), SASL_MALFORMED},
    {"no password", RAW("\0alice\0"), SASL_EMPTY},
    {"NUL in the password", RAW("\0alice\0sec\0ret"), SASL_MALFORMED},
    {"NUL behind the password", RAW("\0alice\0secret\0"), SASL_MALFORMED},
    {"line feed in the name", RAW("\0alice\n\0secret"), SASL_MALFORMED},
    {"carriage return in the name", RAW("\0al\rice\0secret"), SASL_MALFORMED},
    {"escape in the name", RAW("\0\x1b[2J\0secret"), SASL_MALFORMED},
    {"delete in the name", RAW("\0ali\x7f\0secret"), SASL_MALFORMED},
    {"control in the identity", RAW("alice\n\0alice\0secret"), SASL_MALFORMED},
    {"identity that is a control", RAW("\n\0alice\0secret"), SASL_MALFORMED},
    {"other identity and no password", RAW("bob\0alice\0"), SASL_EMPTY},
};

static void check_plain(size_t i, const struct sasl *sasl, enum sasl_status status)
{
    if (status != plain_cases[i].status)
        fail_msg("%s: status %d", plain_cases[i].name, (int)status);
    if (status != SASL_CREDENTIALS) {
        assert_no_secret(sasl);
        return;
    }
    const char *user = plain_cases[i].message.bytes;
    user += strlen(user) + 1;
    assert_string_equal(sasl->user, user);
    assert_string_equal(sasl->password, user + strlen(user) + 1);
}

static void test_plain_with_initial_response(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(plain_cases); i++) {
        struct sasl sasl;
        const char *challenge = NULL;
        check_plain(i, &sasl, start_raw(&sasl, SASL_PLAIN, plain_cases[i].message, &challenge));
        assert_null(challenge);
    }
}

static void test_plain_after_empty_challenge(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(plain_cases); i++) {
        struct sasl sasl;
        const char *challenge = NULL;
        assert_int_equal(sasl_start(&sasl, SASL_PLAIN, NULL, 0, &challenge), SASL_CHALLENGE);
        assert_string_equal(challenge, "");
        check_plain(i, &sasl, continue_raw(&sasl, plain_cases[i].message, &challenge));
    }
}

static void test_refused_name_is_there_for_the_log(void **state)
{
    struct sasl sasl;
    const char *challenge;
    (void)state;
    assert_int_equal(
        start_raw(&sasl, SASL_PLAIN, (struct raw)RAW("bob\0alice\0pw"), &challenge),
        SASL_REFUSED);
    assert_string_equal(sasl.user, "alice");
}

/* What is wrong, and with whose login, for the log. */
static void test_fault_of_a_response_is_named_with_its_user(void **state)
{
    static const struct {
        struct raw message;
        const char *user, *fault;
    } cases[] = {
        {RAW("\0alice\0p\0w"), "alice", "NUL in the password"},
        {RAW("\0alice\0pw\0"), "alice", "NUL after the password"},
        {RAW("\0alice\0"), "alice", "empty password"},
        {RAW("a\nb\0alice\0pw"), "alice", "authorization identity that is no name"},
        {RAW("\0al\nice\0pw"), "", "control character in the user name"},
        {RAW("\0\0pw"), "", "no user name"},
        {RAW("\0alice"), "", "no NUL after the user name"},
        {RAW("alice"), "", "no NUL: not a message of PLAIN"},
    };
    struct sasl sasl;
    const char *challenge;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum sasl_status status = start_raw(&sasl, SASL_PLAIN, cases[i].message, &challenge);
        assert_true(status == SASL_MALFORMED || status == SASL_EMPTY);
        assert_string_equal(sasl.user, cases[i].user);
        assert_string_equal(sasl.fault, cases[i].fault);
        assert_no_secret(&sasl);
    }
    assert_int_equal(sasl_start(&sasl, SASL_PLAIN, "!!!!", 4, &challenge), SASL_MALFORMED);
    assert_string_equal(sasl.fault, "bad base64");
}

static void test_login_prompts_are_those_that_clients_compare(void **state)
{
    struct sasl sasl;
    const char *challenge = NULL;
    (void)state;
    assert_int_equal(sasl_start(&sasl, SASL_LOGIN, NULL, 0, &challenge), SASL_CHALLENGE);
    assert_string_equal(challenge, "VXNlcm5hbWU6");
    assert_int_equal(continue_raw(&sasl, (struct raw)RAW("alice"), &challenge), SASL_CHALLENGE);
    assert_string_equal(challenge, "UGFzc3dvcmQ6");
    assert_int_equal(continue_raw(&sasl, (struct raw)RAW("secret"), &challenge),
                     SASL_CREDENTIALS);
    assert_string_equal(sasl.user, "alice");
    assert_string_equal(sasl.password, "secret");
}

static void test_login_takes_user_name_as_initial_response(void **state)
{
    struct sasl sasl;
    const char *challenge = NULL;
    (void)state;
    assert_int_equal(start_raw(&sasl, SASL_LOGIN, (struct raw)RAW("alice"), &challenge),
                     SASL_CHALLENGE);
    assert_string_equal(challenge, "UGFzc3dvcmQ6");
    assert_int_equal(continue_raw(&sasl, (struct raw)RAW("secret"), &challenge),
                     SASL_CREDENTIALS);
    assert_string_equal(sasl.user, "alice");
    assert_string_equal(sasl.password, "secret");
}

static void test_login_refuses_names_and_passwords_that_plain_refuses(void **state)
{
    static const struct raw bad_names[] = {RAW(""), RAW("ali\0ce"), RAW("alice\n"),
                                           RAW("\x1b")};
    static const struct raw bad_passwords[] = {RAW(""), RAW("sec\0ret"), RAW("secret\0")};
    struct sasl sasl;
    const char *challenge;
    (void)state;
    for (size_t i = 0; i < COUNT(bad_names); i++) {
        assert_int_equal(sasl_start(&sasl, SASL_LOGIN, NULL, 0, &challenge), SASL_CHALLENGE);
        assert_int_equal(continue_raw(&sasl, bad_names[i], &challenge), SASL_MALFORMED);
    }
    for (size_t i = 0; i < COUNT(bad_passwords); i++) {
        assert_int_equal(start_raw(&sasl, SASL_LOGIN, (struct raw)RAW("alice"), &challenge),
                         SASL_CHALLENGE);
        assert_int_equal(continue_raw(&sasl, bad_passwords[i], &challenge),
                         bad_passwords[i].length > 0 ? SASL_MALFORMED : SASL_EMPTY);
        assert_string_equal(sasl.user, "alice");
        assert_no_secret(&sasl);
    }
}

/* What is refused as it stands on the line, before or behind a challenge. */
static void test_bad_lines_are_malformed(void **state)
{
    static const char *const lines[] = {
        "A", "AGFsaWNl", "AGFsaWNlAHB3!", "AGFsaWNlAHB3=", "**", "==", "AGFsaWNlAHB3 "};
    struct sasl sasl;
    const char *challenge;
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        assert_int_equal(sasl_start(&sasl, SASL_PLAIN, lines[i], strlen(lines[i]), &challenge),
                         SASL_MALFORMED);
        assert_int_equal(sasl_start(&sasl, SASL_PLAIN, NULL, 0, &challenge), SASL_CHALLENGE);
        assert_int_equal(sasl_continue(&sasl, lines[i], strlen(lines[i]), &challenge),
                         SASL_MALFORMED);
    }
}

/* RFC 4954 section 4: "=" is the empty initial response, "*" cancels, each only in its place.
 */
static void test_equals_sign_and_star_have_their_places(void **state)
{
    struct sasl sasl;
    const char *challenge;
    (void)state;
    for (int mechanism = 0; mechanism < SASL_EXTERNAL; mechanism++) {
        assert_int_equal(sasl_start(&sasl, (enum sasl_mechanism)mechanism, "=", 1, &challenge),
                         SASL_MALFORMED);
        assert_int_equal(sasl_start(&sasl, (enum sasl_mechanism)mechanism, "*", 1, &challenge),
                         SASL_MALFORMED);
        assert_int_equal(sasl_start(&sasl, (enum sasl_mechanism)mechanism, NULL, 0, &challenge),
                         SASL_CHALLENGE);
        assert_int_equal(sasl_continue(&sasl, "=", 1, &challenge), SASL_MALFORMED);
        assert_int_equal(sasl_start(&sasl, (enum sasl_mechanism)mechanism, NULL, 0, &challenge),
                         SASL_CHALLENGE);
        assert_int_equal(sasl_continue(&sasl, "*", 1, &challenge), SASL_CANCELLED);
    }
    assert_int_equal(start_raw(&sasl, SASL_LOGIN, (struct raw)RAW("alice"), &challenge),
                     SASL_CHALLENGE);
    assert_int_equal(sasl_continue(&sasl, "*", 1, &challenge), SASL_CANCELLED);
    assert_string_equal(sasl.user, "");
}

static void test_nothing_goes_on_behind_the_end(void **state)
{
    struct sasl sasl;
    const char *challenge;
    (void)state;
    assert_int_equal(start_raw(&sasl, SASL_PLAIN, (struct raw)RAW("\0a\0b"), &challenge),
                     SASL_CREDENTIALS);
    assert_int_equal(continue_raw(&sasl, (struct raw)RAW("\0root\0b"), &challenge),
                     SASL_MALFORMED);
    assert_string_equal(sasl.user, "");
    assert_no_secret(&sasl);
}

static enum sasl_status plain_of_lengths(struct sasl *sasl, size_t authzid, size_t user,
                                         size_t password)
{
    char bytes[ENCODED_SIZE / 2];
    const char *challenge;
    memset(bytes, 'x', sizeof bytes);
    bytes[authzid] = '\0';
    bytes[authzid + 1 + user] = '\0';
    return start_raw(sasl, SASL_PLAIN, (struct raw){bytes, authzid + 1 + user + 1 + password},
                     &challenge);
}

/* Threat 15: what a module hashes is not the client's to choose. */
static void test_lengths_are_capped(void **state)
{
    static const struct {
        size_t authzid, user, password;
        enum sasl_status status;
    } cases[] = {
        {0, SASL_USER_LIMIT, SASL_PASSWORD_LIMIT, SASL_CREDENTIALS},
        {SASL_USER_LIMIT, SASL_USER_LIMIT, SASL_PASSWORD_LIMIT, SASL_CREDENTIALS},
        {0, SASL_USER_LIMIT + 1, 1, SASL_MALFORMED},
        {0, 1, SASL_PASSWORD_LIMIT + 1, SASL_MALFORMED},
        {SASL_USER_LIMIT + 1, 1, 1, SASL_MALFORMED},
        {0, 1, 3900, SASL_MALFORMED},
    };
    struct sasl sasl;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(
            plain_of_lengths(&sasl, cases[i].authzid, cases[i].user, cases[i].password),
            cases[i].status);
        if (cases[i].status != SASL_CREDENTIALS) {
            assert_non_null(strstr(
                sasl.fault,
                cases[i].password > SASL_PASSWORD_LIMIT
                    ? (cases[i].password > 3000 ? "longer than" : "password over 1024 bytes")
                    : ""));
            continue;
        }
        assert_int_equal(strlen(sasl.user), cases[i].user);
        assert_int_equal(strlen(sasl.password), cases[i].password);
    }
}

/* Threat 13. */
static void test_only_known_mechanisms_are_found(void **state)
{
    static const struct {
        const char *name;
        int expected;
    } cases[] = {
        {"PLAIN", SASL_PLAIN},
        {"plain", SASL_PLAIN},
        {"Login", SASL_LOGIN},
        {"LOGIN", SASL_LOGIN},
        {"", -1},
        {"PLAI", -1},
        {"PLAINX", -1},
        {"CRAM-MD5", -1},
        {"ANONYMOUS", -1},
        {"External", SASL_EXTERNAL},
        {"GSSAPI", -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(sasl_mechanism_lookup(cases[i].name, strlen(cases[i].name)),
                         cases[i].expected);
    for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
        const char *name = sasl_mechanism_name((enum sasl_mechanism)i);
        assert_int_equal(sasl_mechanism_lookup(name, strlen(name)), i);
    }
}

/* RFC 4422 appendix A: nothing, or the name that is wanted. */
static void test_external_takes_a_name_or_none(void **state)
{
    static const struct {
        const char *response;
        enum sasl_status status;
        const char *user;
    } cases[] = {
        {"=", SASL_CREDENTIALS, ""},      {"YWxpY2U=", SASL_CREDENTIALS, "alice"},
        {"YWxpY2UA", SASL_MALFORMED, ""}, /* a NUL behind it */
        {"Cg==", SASL_MALFORMED, ""},     {"*", SASL_MALFORMED, ""},
    };
    struct sasl sasl;
    const char *challenge = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(sasl_start(&sasl, SASL_EXTERNAL, cases[i].response,
                                    strlen(cases[i].response), &challenge),
                         cases[i].status);
        assert_string_equal(sasl.user, cases[i].user);
    }
    assert_int_equal(sasl_start(&sasl, SASL_EXTERNAL, NULL, 0, &challenge), SASL_CHALLENGE);
    assert_string_equal(challenge, "");
    assert_int_equal(sasl_continue(&sasl, "", 0, &challenge), SASL_CREDENTIALS);
    assert_string_equal(sasl.user, "");
    assert_int_equal(sasl_continue(&sasl, "", 0, &challenge), SASL_MALFORMED);
}

static void test_wipe_leaves_nothing(void **state)
{
    struct sasl sasl, blank;
    const char *challenge;
    (void)state;
    memset(&blank, 0, sizeof blank);
    assert_int_equal(start_raw(&sasl, SASL_PLAIN, (struct raw)RAW("\0alice\0pw"), &challenge),
                     SASL_CREDENTIALS);
    sasl_wipe(&sasl);
    assert_memory_equal(&sasl, &blank, sizeof sasl);
}

/* In frames of its own, whose remains are then searched. */
static void __attribute__((noinline)) present_secret(struct sasl *sasl, const char *turned)
{
    char secret[SECRET_LENGTH + 1], message[SECRET_LENGTH + 3] = "\0a";
    const char *challenge;
    secret_reveal(turned, secret);
    memcpy(message + 3, secret, SECRET_LENGTH);
    explicit_bzero(secret, sizeof secret);
    enum sasl_status status =
        start_raw(sasl, SASL_PLAIN, (struct raw){message, SECRET_LENGTH + 3}, &challenge);
    explicit_bzero(message, sizeof message);
    assert_int_equal(status, SASL_CREDENTIALS);
}

/* Promise 7. */
static void test_password_is_in_one_place_and_then_in_none(void **state)
{
    struct sasl sasl;
    char turned[SECRET_LENGTH];
    (void)state;
    secret_make(turned);
    present_secret(&sasl, turned);
    assert_int_equal(secret_count(turned), 1);
    sasl_wipe(&sasl);
    assert_int_equal(secret_count(turned), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_with_initial_response),
        cmocka_unit_test(test_plain_after_empty_challenge),
        cmocka_unit_test(test_refused_name_is_there_for_the_log),
        cmocka_unit_test(test_fault_of_a_response_is_named_with_its_user),
        cmocka_unit_test(test_login_prompts_are_those_that_clients_compare),
        cmocka_unit_test(test_login_takes_user_name_as_initial_response),
        cmocka_unit_test(test_login_refuses_names_and_passwords_that_plain_refuses),
        cmocka_unit_test(test_bad_lines_are_malformed),
        cmocka_unit_test(test_equals_sign_and_star_have_their_places),
        cmocka_unit_test(test_nothing_goes_on_behind_the_end),
        cmocka_unit_test(test_lengths_are_capped),
        cmocka_unit_test(test_only_known_mechanisms_are_found),
        cmocka_unit_test(test_external_takes_a_name_or_none),
        cmocka_unit_test(test_wipe_leaves_nothing),
        cmocka_unit_test(test_password_is_in_one_place_and_then_in_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
