/*
 * What is offered after sessions that were shown this and that: taken away by two, given back
 * by a row, and one client's lot is his own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy/offer.h"

#define BIT(extension) (1u << (extension))
#define ALL            "DSN SIZE=900 CHUNKING"

/* From "DSN SIZE=5": keywords, and a parameter behind an equals sign. */
static struct smtp_ehlo ehlo_of(const char *words)
{
    struct smtp_ehlo ehlo = {0};
    char text[128], *place = NULL;
    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok_r(text, " ", &place); word; word = strtok_r(NULL, " ", &place)) {
        char *equals = strchr(word, '=');
        if (equals)
            *equals = ' ';
        smtp_ehlo_learn(&ehlo, word, strlen(word));
    }
    return ehlo;
}

static struct address client_of(const char *text)
{
    struct address address = {0};
    const char *why = NULL;
    assert_true(address_parse(text, &address, &why));
    return address;
}

/* Each step is a session: "client keywords …", then what is offered to all behind it. */
struct step {
    const char *client, *shown, *offered;
};

static void follow(const char *probed, const struct step *steps, size_t count)
{
    struct offer *offer = offer_new();
    struct smtp_ehlo probe = ehlo_of(probed);
    assert_non_null(offer);
    for (size_t i = 0; i < count; i++) {
        struct address client = client_of(steps[i].client);
        struct smtp_ehlo shown = ehlo_of(steps[i].shown), wanted = ehlo_of(steps[i].offered);
        struct smtp_ehlo before = probe, after = probe;
        offer_restrict(offer, &before);
        bool changed = offer_learn(offer, &probe, &client, &shown);
        offer_restrict(offer, &after);
        if (!smtp_ehlo_equal(&after, &wanted))
            fail_msg("step %zu: other than %s", i, steps[i].offered);
        assert_int_equal(changed, !smtp_ehlo_equal(&before, &after));
    }
    offer_free(offer);
}
#define FOLLOW(probed, steps) follow(probed, steps, sizeof(steps) / sizeof *(steps))

static void test_what_a_probe_is_shown_is_offered_before_a_session(void **state)
{
    struct offer *offer = offer_new();
    struct smtp_ehlo probe = ehlo_of(ALL), offered = probe;
    struct address client = client_of("192.0.2.1:25");
    (void)state;
    assert_non_null(offer);
    offer_restrict(offer, &offered);
    assert_true(smtp_ehlo_equal(&offered, &probe));
    assert_int_equal(offer_kept_from(offer, &offered, &client), 0);
    offer_free(offer);
}

static void test_less_counts_when_a_second_client_is_shown_it_and_more_in_a_row(void **state)
{
    static const struct step steps[] = {
        {"192.0.2.1:1", ALL, ALL},
        {"192.0.2.9:1", "SIZE=900", ALL}, /* perhaps he alone */
        {"192.0.2.9:2", "SIZE=900", ALL},
        {"192.0.2.1:1", ALL, ALL},
        {"192.0.2.10:1", "SIZE=900", ALL},
        {"192.0.2.11:1", "SIZE=900", "SIZE=900"},
        {"192.0.2.1:1", ALL, "SIZE=900"},
        {"192.0.2.2:1", ALL, "SIZE=900"},
        {"192.0.2.1:1", ALL, ALL},
    };
    (void)state;
    FOLLOW(ALL, steps);
}

/* Of so many clients some are kept in the place of the first. */
static void test_every_second_client_is_believed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        char text[64];
        struct offer *offer = offer_new();
        struct smtp_ehlo probe = ehlo_of(ALL), less = ehlo_of("SIZE=900"), offered = probe;
        struct address first = client_of("192.0.2.1:1");
        snprintf(text, sizeof text, "10.0.%u.%u:1", i / 250, i % 250 + 1);
        struct address second = client_of(text);
        assert_non_null(offer);
        (void)!offer_learn(offer, &probe, &first, &probe);
        (void)!offer_learn(offer, &probe, &first, &less);
        (void)!offer_learn(offer, &probe, &second, &less);
        offer_restrict(offer, &offered);
        assert_true(smtp_ehlo_equal(&offered, &less));
        offer_free(offer);
    }
}

static void test_row_is_what_all_of_it_were_shown(void **state)
{
    static const struct step steps[] = {
        {"192.0.2.9:1", "SIZE=900", "SIZE=900"},
        {"192.0.2.1:1", ALL, "SIZE=900"},
        {"192.0.2.2:1", "DSN SIZE=900", "SIZE=900"},
        {"192.0.2.3:1", ALL, "DSN SIZE=900"},
        {"192.0.2.3:1", ALL, "DSN SIZE=900"},
        {"192.0.2.3:1", ALL, "DSN SIZE=900"},
        {"192.0.2.3:1", ALL, ALL},
    };
    (void)state;
    FOLLOW(ALL, steps);
}

static void test_client_who_is_known_to_be_shown_less_says_nothing_of_others(void **state)
{
    static const struct step steps[] = {
        {"192.0.2.9:1", "SIZE=900", "SIZE=900"},
        {"192.0.2.1:1", ALL, "SIZE=900"},
        {"192.0.2.9:2", "SIZE=900", "SIZE=900"},
        {"192.0.2.1:1", ALL, "SIZE=900"},
        {"192.0.2.1:1", ALL, ALL},
        {"192.0.2.9:3", "SIZE=900", ALL},
        {"192.0.2.9:3", "DSN SIZE=900", ALL}, /* something new of him */
    };
    (void)state;
    FOLLOW(ALL, steps);
}

static void test_smaller_limit_of_size_is_less(void **state)
{
    static const struct step steps[] = {
        {"192.0.2.1:1", "SIZE=900", "SIZE=900"},  {"192.0.2.9:1", "SIZE=100", "SIZE=900"},
        {"192.0.2.10:1", "SIZE=100", "SIZE=100"}, {"192.0.2.1:1", "SIZE=900", "SIZE=100"},
        {"192.0.2.1:1", "SIZE=900", "SIZE=100"},  {"192.0.2.1:1", "SIZE=900", "SIZE=900"},
        {"192.0.2.9:1", "SIZE=100", "SIZE=900"},  {"192.0.2.1:1", "SIZE", "SIZE=900"},
    };
    (void)state;
    FOLLOW("SIZE=900", steps);
}

static void test_more_than_a_probe_is_shown_is_not_offered(void **state)
{
    static const struct step steps[] = {
        {"192.0.2.1:1", ALL, "SIZE=900"},
        {"192.0.2.1:1", ALL, "SIZE=900"},
        {"192.0.2.1:1", ALL, "SIZE=900"},
        {"192.0.2.1:1", ALL, "SIZE=900"},
    };
    (void)state;
    FOLLOW("SIZE=900", steps);
}

static void test_client_is_not_offered_what_he_was_not_shown(void **state)
{
    struct offer *offer = offer_new();
    struct smtp_ehlo all = ehlo_of(ALL), less = ehlo_of("SIZE=100");
    struct address one = client_of("[2001:db8:0:1::1]:25"), other = client_of("192.0.2.1:25");
    struct address neighbour = client_of("[2001:db8:0:1::2]:26");
    (void)state;
    assert_non_null(offer);
    assert_true(offer_learn(offer, &all, &one, &less));
    assert_int_equal(offer_kept_from(offer, &all, &neighbour),
                     BIT(SMTP_EXT_DSN) | BIT(SMTP_EXT_SIZE) | BIT(SMTP_EXT_CHUNKING));
    assert_int_equal(offer_kept_from(offer, &all, &other), 0);
    assert_int_equal(offer_kept_from(offer, &less, &one),
                     BIT(SMTP_EXT_DSN) | BIT(SMTP_EXT_CHUNKING));
    for (unsigned i = 0; i < OFFER_ROW; i++)
        assert_int_equal(offer_learn(offer, &all, &one, &all), i + 1 == OFFER_ROW);
    assert_int_equal(offer_kept_from(offer, &all, &one), 0);
    offer_free(offer);
}

static void test_any_number_of_visitors_is_bounded_and_harmless(void **state)
{
    struct offer *offer = offer_new();
    struct smtp_ehlo all = ehlo_of(ALL), less = ehlo_of("SIZE=900");
    struct address client = client_of("192.0.2.1:25");
    (void)state;
    assert_non_null(offer);
    for (uint32_t i = 0; i < 5000; i++) {
        client.v4.sin_addr.s_addr = i;
        (void)!offer_learn(offer, &all, &client, i % 2 ? &less : &all);
    }
    for (unsigned i = 0; i < OFFER_ROW; i++)
        (void)!offer_learn(offer, &all, &client, &all);
    struct smtp_ehlo offered = all;
    offer_restrict(offer, &offered);
    assert_true(smtp_ehlo_offers(&offered, SMTP_EXT_SIZE));
    offer_free(offer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_probe_is_shown_is_offered_before_a_session),
        cmocka_unit_test(test_less_counts_when_a_second_client_is_shown_it_and_more_in_a_row),
        cmocka_unit_test(test_every_second_client_is_believed),
        cmocka_unit_test(test_row_is_what_all_of_it_were_shown),
        cmocka_unit_test(test_client_who_is_known_to_be_shown_less_says_nothing_of_others),
        cmocka_unit_test(test_smaller_limit_of_size_is_less),
        cmocka_unit_test(test_more_than_a_probe_is_shown_is_not_offered),
        cmocka_unit_test(test_client_is_not_offered_what_he_was_not_shown),
        cmocka_unit_test(test_any_number_of_visitors_is_bounded_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
