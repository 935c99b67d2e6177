/* XCLIENT commands, as a strict backend reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/smtp/xclient.h"
#include "xclient_reader.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

#define BIT(name) (1u << SMTP_XCLIENT_##name)
#define ALL       ((1u << SMTP_XCLIENT_COUNT) - 1)

static const struct smtp_xclient_identity alice = {{
    [SMTP_XCLIENT_HELO] = "pc.example",
    [SMTP_XCLIENT_PROTO] = "ESMTP",
    [SMTP_XCLIENT_PORT] = "40000",
    [SMTP_XCLIENT_DESTADDR] = "192.0.2.1",
    [SMTP_XCLIENT_DESTPORT] = "465",
    [SMTP_XCLIENT_LOGIN] = "alice@example.org",
    [SMTP_XCLIENT_NAME] = "host.example",
    [SMTP_XCLIENT_ADDR] = "IPV6:2001:db8::9",
}};

/* A value of that length, which is longer when it is encoded if `byte` is. */
struct value {
    char text[600];
};

static const char *repeat(struct value *value, char byte, size_t length)
{
    memset(value->text, byte, length);
    value->text[length] = '\0';
    return value->text;
}

static void format_well(const struct smtp_xclient_identity *identity, uint32_t offered,
                        uint32_t required, struct smtp_xclient_commands *commands,
                        struct xclient_told *told)
{
    assert_true(smtp_xclient_format(identity, offered, required, commands));
    const char *fault = xclient_fault(commands, offered, told);
    if (fault)
        fail_msg("wrong in the commands: %s", fault);
}

static void assert_text(const struct smtp_xclient_commands *commands, unsigned index,
                        const char *expected)
{
    assert_int_equal(commands->length[index], strlen(expected));
    assert_memory_equal(commands->text[index], expected, strlen(expected));
}

static void test_an_ordinary_identity_is_one_command(void **state)
{
    struct smtp_xclient_commands commands;
    struct xclient_told told;
    (void)state;
    format_well(&alice, ALL, ALL, &commands, &told);
    assert_int_equal(commands.count, 1);
    assert_text(&commands, 0,
                "XCLIENT HELO=pc.example PROTO=ESMTP PORT=40000 DESTADDR=192.0.2.1 "
                "DESTPORT=465 LOGIN=alice@example.org NAME=host.example "
                "ADDR=IPV6:2001:db8::9\r\n");
}

static void test_only_what_is_offered_is_told(void **state)
{
    (void)state;
    for (uint32_t offered = 0; offered <= ALL; offered++) {
        struct smtp_xclient_commands commands;
        struct xclient_told told;
        format_well(&alice, offered, 0, &commands, &told);
        assert_int_equal(commands.count, offered ? 1 : 0);
        for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
            if ((offered >> i) & 1u)
                assert_string_equal(told.value[i], alice.value[i]);
    }
}

static void test_no_value_is_told_as_unavailable(void **state)
{
    struct smtp_xclient_identity identity = {{[SMTP_XCLIENT_NAME] = ""}};
    struct smtp_xclient_commands commands;
    struct xclient_told told;
    (void)state;
    format_well(&identity, BIT(NAME) | BIT(ADDR) | BIT(HELO), BIT(ADDR), &commands, &told);
    assert_text(&commands, 0,
                "XCLIENT HELO=[UNAVAILABLE] NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]\r\n");
}

/* Threat 10. */
static void test_no_value_becomes_a_second_attribute(void **state)
{
    static const char *const values[] = {
        "alice ADDR=127.0.0.1",
        "alice\r\nXCLIENT LOGIN=root",
        "alice\nQUIT",
        "alice\rQUIT",
        "a+b",
        "a=b",
        "a+20b",
        "j\xc3\xb6rg",
        "\xff\x80",
        "a\tb",
        "\x7f",
        " ",
        "+",
        "=",
    };
    (void)state;
    for (int attribute = 0; attribute < SMTP_XCLIENT_COUNT; attribute++) {
        for (size_t i = 0; i < COUNT(values); i++) {
            struct smtp_xclient_identity identity = alice;
            struct smtp_xclient_commands commands;
            struct xclient_told told;
            identity.value[attribute] = values[i];
            format_well(&identity, ALL, ALL, &commands, &told);
            assert_int_equal(commands.count, 1);
            assert_string_equal(told.value[attribute], values[i]);
        }
    }
}

/* Who is called so would be nobody to the backend. */
static void test_words_for_no_value_are_no_names(void **state)
{
    static const char *const words[] = {"[UNAVAILABLE]", "[TEMPUNAVAIL]", "[unavailable]"};
    (void)state;
    for (size_t i = 0; i < COUNT(words); i++) {
        struct smtp_xclient_identity identity = alice;
        struct smtp_xclient_commands commands;
        struct xclient_told told;
        identity.value[SMTP_XCLIENT_LOGIN] = words[i];
        assert_false(smtp_xclient_format(&identity, ALL, BIT(LOGIN), &commands));
        assert_int_equal(commands.count, 0);
        identity.value[SMTP_XCLIENT_LOGIN] = "alice";
        identity.value[SMTP_XCLIENT_HELO] = words[i];
        format_well(&identity, ALL, BIT(LOGIN) | BIT(ADDR), &commands, &told);
        assert_true(told.unavailable[SMTP_XCLIENT_HELO]);
    }
}

/* Values of 255 bytes as they are sent, whether they are encoded or not. */
static void test_values_are_at_most_255_bytes(void **state)
{
    static const struct {
        char byte;
        size_t longest;
    } cases[] = {{'a', 255}, {' ', 85}, {'\xff', 85}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_xclient_identity identity = alice;
        struct smtp_xclient_commands commands;
        struct xclient_told told;
        struct value value;
        identity.value[SMTP_XCLIENT_LOGIN] = repeat(&value, cases[i].byte, cases[i].longest);
        format_well(&identity, ALL, BIT(LOGIN) | BIT(ADDR), &commands, &told);
        assert_string_equal(told.value[SMTP_XCLIENT_LOGIN], value.text);
        assert_string_equal(told.value[SMTP_XCLIENT_ADDR], alice.value[SMTP_XCLIENT_ADDR]);

        repeat(&value, cases[i].byte, cases[i].longest + 1);
        assert_false(smtp_xclient_format(&identity, ALL, BIT(LOGIN), &commands));
        assert_int_equal(commands.count, 0);
        format_well(&identity, ALL, BIT(ADDR), &commands, &told);
        assert_true(told.unavailable[SMTP_XCLIENT_LOGIN]);
    }
}

/* Its client chose it, and it decides nothing: no reason to refuse a session. */
static void test_over_long_helo_is_unavailable(void **state)
{
    struct smtp_xclient_identity identity = alice;
    struct smtp_xclient_commands commands;
    struct xclient_told told;
    struct value value;
    (void)state;
    identity.value[SMTP_XCLIENT_HELO] = repeat(&value, '=', 86);
    format_well(&identity, ALL, BIT(LOGIN) | BIT(ADDR), &commands, &told);
    assert_true(told.unavailable[SMTP_XCLIENT_HELO]);
    assert_string_equal(told.value[SMTP_XCLIENT_LOGIN], alice.value[SMTP_XCLIENT_LOGIN]);
    assert_false(smtp_xclient_format(&identity, ALL, BIT(HELO), &commands));
}

/* At each length of HELO and LOGIN, around the 512 bytes where a second command begins. */
static void test_long_identities_are_split_with_the_login_last(void **state)
{
    bool one = false, two = false;
    (void)state;
    for (size_t helo = 1; helo <= 255; helo += 2) {
        for (size_t login = 1; login <= 255; login++) {
            struct smtp_xclient_identity identity = alice;
            struct smtp_xclient_commands commands;
            struct xclient_told told;
            struct value values[2];
            identity.value[SMTP_XCLIENT_HELO] = repeat(&values[0], 'h', helo);
            identity.value[SMTP_XCLIENT_LOGIN] = repeat(&values[1], 'l', login);
            format_well(&identity, ALL, BIT(LOGIN) | BIT(ADDR), &commands, &told);
            for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
                assert_string_equal(told.value[i], identity.value[i]);
            one = one || commands.count == 1;
            two = two || commands.count == 2;
        }
    }
    assert_true(one && two);
}

static void test_commands_fill_512_bytes_and_no_more(void **state)
{
    struct smtp_xclient_identity identity = {{[SMTP_XCLIENT_ADDR] = "192.0.2.9"}};
    const size_t fixed = strlen("XCLIENT HELO= LOGIN= ADDR=192.0.2.9\r\n");
    const uint32_t offered = BIT(HELO) | BIT(LOGIN) | BIT(ADDR);
    struct smtp_xclient_commands commands;
    struct xclient_told told;
    struct value values[2];
    (void)state;
    identity.value[SMTP_XCLIENT_LOGIN] = repeat(&values[0], 'l', 255);
    identity.value[SMTP_XCLIENT_HELO] = repeat(&values[1], 'h', 512 - fixed - 255);
    format_well(&identity, offered, offered, &commands, &told);
    assert_int_equal(commands.count, 1);
    assert_int_equal(commands.length[0], 512);
    identity.value[SMTP_XCLIENT_HELO] = repeat(&values[1], 'h', 512 - fixed - 255 + 1);
    format_well(&identity, offered, offered, &commands, &told);
    assert_int_equal(commands.count, 2);
}

static void test_the_longest_of_everything_has_room(void **state)
{
    struct value longest;
    struct smtp_xclient_identity identity;
    (void)state;
    repeat(&longest, 'x', 255);
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
        identity.value[i] = longest.text;
    for (uint32_t offered = 0; offered <= ALL; offered++) {
        for (uint32_t required = 0; required <= ALL; required++) {
            struct smtp_xclient_commands commands;
            struct xclient_told told;
            if (!smtp_xclient_format(&identity, offered, required, &commands)) {
                assert_int_equal(commands.count, 0);
                continue;
            }
            assert_null(xclient_fault(&commands, offered, &told));
            for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
                if ((offered & required) >> i & 1u)
                    assert_string_equal(told.value[i], longest.text);
        }
    }
}

/* Promise 3: beside a long LOGIN, a NAME gives way unless the configuration insists on it. */
static void test_name_gives_way_to_login_unless_required(void **state)
{
    struct smtp_xclient_identity identity = alice;
    struct smtp_xclient_commands commands;
    struct xclient_told told;
    struct value login, name;
    (void)state;
    identity.value[SMTP_XCLIENT_LOGIN] = repeat(&login, 'l', 250);
    identity.value[SMTP_XCLIENT_NAME] = repeat(&name, 'n', 250);
    format_well(&identity, ALL, BIT(LOGIN) | BIT(ADDR), &commands, &told);
    assert_string_equal(told.value[SMTP_XCLIENT_LOGIN], login.text);
    assert_string_equal(told.value[SMTP_XCLIENT_ADDR], alice.value[SMTP_XCLIENT_ADDR]);
    assert_true(told.unavailable[SMTP_XCLIENT_NAME]);
    assert_false(
        smtp_xclient_format(&identity, ALL, BIT(LOGIN) | BIT(ADDR) | BIT(NAME), &commands));
    format_well(&identity, ALL, BIT(NAME) | BIT(ADDR), &commands, &told);
    assert_string_equal(told.value[SMTP_XCLIENT_NAME], name.text);
    assert_true(told.unavailable[SMTP_XCLIENT_LOGIN]);
}

static void test_names_of_attributes(void **state)
{
    static const struct {
        const char *text;
        uint32_t attributes;
    } cases[] = {
        {"NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", ALL},
        {"name Addr", BIT(NAME) | BIT(ADDR)},
        {"  NAME   LOGIN  ", BIT(NAME) | BIT(LOGIN)},
        {"NAME\tADDR", 0},
        {"NAM NAMES LOGI LOGINS", 0},
        {"REVERSE_NAME ADDR", BIT(ADDR)},
        {"ADDR=1", 0},
        {"", 0},
        {"\xff", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(smtp_xclient_attributes(cases[i].text, strlen(cases[i].text)),
                         cases[i].attributes);
    assert_int_equal(smtp_xclient_attributes("NAME\0ADDR", 9), 0);
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++) {
        const char *name = smtp_xclient_name((enum smtp_xclient_attribute)i);
        assert_int_equal(smtp_xclient_lookup(name, strlen(name)), i);
        assert_int_equal(smtp_xclient_lookup(name, strlen(name) - 1), -1);
    }
    assert_int_equal(smtp_xclient_lookup("", 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ordinary_identity_is_one_command),
        cmocka_unit_test(test_only_what_is_offered_is_told),
        cmocka_unit_test(test_no_value_is_told_as_unavailable),
        cmocka_unit_test(test_no_value_becomes_a_second_attribute),
        cmocka_unit_test(test_words_for_no_value_are_no_names),
        cmocka_unit_test(test_values_are_at_most_255_bytes),
        cmocka_unit_test(test_over_long_helo_is_unavailable),
        cmocka_unit_test(test_long_identities_are_split_with_the_login_last),
        cmocka_unit_test(test_commands_fill_512_bytes_and_no_more),
        cmocka_unit_test(test_the_longest_of_everything_has_room),
        cmocka_unit_test(test_name_gives_way_to_login_unless_required),
        cmocka_unit_test(test_names_of_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
