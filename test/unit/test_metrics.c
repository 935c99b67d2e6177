/*
 * The page for Prometheus: every metric of the table is on it, in the manual, and named as the
 * conventions want it; a name from the configuration cannot break out of its label.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/metrics.h"

/* The page, to be freed. */
static char *write_page(const struct statistics *sum, const struct metrics_facts *facts)
{
    struct evbuffer *out = evbuffer_new();
    assert_non_null(out);
    assert_true(metrics_write(out, sum, facts));
    size_t length = evbuffer_get_length(out);
    char *text = malloc(length + 1);
    assert_non_null(text);
    assert_int_equal(evbuffer_remove(out, text, length), (int)length);
    text[length] = '\0';
    assert_int_equal(strlen(text), length);
    evbuffer_free(out);
    return text;
}

static void assert_line(const char *page, const char *line)
{
    char whole[400];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    if (!strstr(page, whole))
        fail_msg("\"%s\" is not in\n%s", line, page);
}

static const struct metrics_certificate certificates[] = {
    {"/etc/a \"b\"\\c\n.pem", 1800000000, true}, {"/etc/unreadable.pem", 0, false}};
static const struct metrics_facts facts = {true, 1700000000, certificates, 2};

static struct statistics *ones(void)
{
    static struct statistics sum;
    uint64_t *cells = (uint64_t *)&sum;
    for (size_t i = 0; i < sizeof sum / sizeof *cells; i++)
        cells[i] = 1;
    return &sum;
}

static void test_every_metric_has_a_sample_its_help_and_its_type(void **state)
{
    size_t count;
    const struct statistics_row *rows = statistics_rows(&count);
    char *page = write_page(ones(), &facts);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        char text[200];
        snprintf(text, sizeof text, "# HELP %s %s\n# TYPE %s ", rows[i].name, rows[i].help,
                 rows[i].name);
        assert_non_null(strstr(page, text));
        snprintf(text, sizeof text, "\n%s%s", rows[i].name,
                 rows[i].type == STATISTICS_HISTOGRAM ? "_bucket{" : "");
        assert_non_null(strstr(page, text));
    }
    free(page);
}

static void test_a_name_cannot_leave_its_label(void **state)
{
    char *page = write_page(ones(), &facts);
    (void)state;
    assert_line(page, "postern_certificate_not_after_timestamp_seconds{certificate=\"/etc/a "
                      "\\\"b\\\"\\\\c?.pem\"} 1800000000");
    free(page);
}

static void
test_certificate_that_clients_do_not_get_is_told_and_an_unknown_end_is_not(void **state)
{
    char *page = write_page(ones(), &facts);
    (void)state;
    assert_line(page,
                "postern_certificate_usable{certificate=\"/etc/a \\\"b\\\"\\\\c?.pem\"} 1");
    assert_line(page, "postern_certificate_usable{certificate=\"/etc/unreadable.pem\"} 0");
    assert_null(strstr(page, "seconds{certificate=\"/etc/unreadable.pem"));
    free(page);
}

static void test_long_names_are_told_apart_by_their_ends(void **state)
{
    static char names[2][4096];
    struct metrics_certificate some[] = {{names[0], 1, true}, {names[1], 2, true}};
    struct metrics_facts of_some = {.certificates = some, .certificate_count = 2};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        memset(names[i], '"', sizeof names[i] - 3);
        names[i][sizeof names[i] - 3] = (char)('a' + i);
    }
    char *page = write_page(ones(), &of_some);
    assert_non_null(strstr(page, "\\\"a\"} 1\n"));
    assert_non_null(strstr(page, "\\\"b\"} 2\n"));
    assert_null(strstr(page, "\"\""));
    free(page);
}

static void test_labels_are_where_the_counts_are(void **state)
{
    static struct statistics sum;
    (void)state;
    sum.handshakes[3][0][1] = 7;
    sum.logins[SASL_LOGIN][STATISTICS_LOGIN_REJECTED] = 8;
    sum.bytes[1] = UINT64_MAX;
    sum.rejected[REPLY_UNKNOWN_COMMAND] = 9;
    char *page = write_page(&sum, &facts);
    assert_line(page, "postern_tls_handshakes_total{version=\"TLSv1.3\","
                      "cipher=\"TLS_AES_128_GCM_SHA256\",resumed=\"true\"} 7");
    assert_line(page, "postern_logins_total{mechanism=\"LOGIN\",result=\"rejected\"} 8");
    assert_line(page, "postern_client_bytes_total{direction=\"out\"} 18446744073709551615");
    assert_line(page, "postern_rejected_commands_total{kind=\"unknown_command\"} 9");
    assert_null(strstr(page, "TLSv1.2"));
    free(page);
}

static void test_buckets_add_up(void **state)
{
    static struct statistics sum;
    struct statistics *before = statistics;
    (void)state;
    statistics = &sum;
    statistics_observe(&sum.login_duration, 0);
    statistics_observe(&sum.login_duration, 25);
    statistics_observe(&sum.login_duration, 26);
    statistics_observe(&sum.login_duration, 100000);
    statistics = before;
    char *page = write_page(&sum, &facts);
    assert_line(page, "postern_login_duration_seconds_bucket{le=\"0.01\"} 1");
    assert_line(page, "postern_login_duration_seconds_bucket{le=\"0.025\"} 2");
    assert_line(page, "postern_login_duration_seconds_bucket{le=\"30\"} 3");
    assert_line(page, "postern_login_duration_seconds_bucket{le=\"+Inf\"} 4");
    assert_line(page, "postern_login_duration_seconds_sum 100.051");
    assert_line(page, "postern_login_duration_seconds_count 4");
    free(page);
}

static void test_counters_are_named_as_such(void **state)
{
    size_t count;
    const struct statistics_row *rows = statistics_rows(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(rows[i].name);
        bool total = length > 6 && strcmp(rows[i].name + length - 6, "_total") == 0;
        assert_int_equal(total, rows[i].type == STATISTICS_COUNTER);
        assert_int_equal(rows[i].help[strlen(rows[i].help) - 1], '.');
    }
}

static char manual[65536];

static void read_manual(void)
{
    FILE *file = fopen(METRICS_PATH, "re");
    assert_non_null(file);
    memset(manual, 0, sizeof manual);
    assert_in_range(fread(manual, 1, sizeof manual - 1, file), 1, sizeof manual - 2);
    fclose(file);
}

static void test_the_manual_tells_of_every_metric_and_of_no_other(void **state)
{
    size_t count, told = 0;
    const struct statistics_row *rows = statistics_rows(&count);
    (void)state;
    read_manual();
    for (size_t i = 0; i < count; i++) {
        char item[120];
        snprintf(item, sizeof item, "\n.It Ic %s\n", rows[i].name);
        if (!strstr(manual, item))
            fail_msg("%s is not in %s", rows[i].name, METRICS_PATH);
    }
    for (const char *each = manual; (each = strstr(each, "\n.It Ic ")); each++)
        told++;
    assert_int_equal(told, count);
}

/* Behind one of the macros that words of this kind stand behind, in a metric's paragraph. */
static bool is_told(const char *paragraph, size_t length, const char *word)
{
    size_t size = strlen(word);
    for (const char *line = paragraph; line && line < paragraph + length;
         line = memchr(line, '\n', (size_t)(paragraph + length - line))) {
        line++;
        const char *at = line;
        size_t rest = strcspn(line, "\n");
        if (strncmp(line, ".Cm ", 4) != 0 && strncmp(line, ".Ar ", 4) != 0 &&
            strncmp(line, ".It Cm ", 7) != 0)
            continue;
        for (; (at = strstr(at, word)) && at + size <= line + rest; at++)
            if (at[-1] == ' ' && strchr(" \n", at[size]))
                return true;
    }
    return false;
}

/* Those of TLS, SASL and SMTP, of the configuration, and "true" are not for this manual. */
static bool words_are_ours(const struct statistics_label *label)
{
    static const char *const ours[] = {"limit", "state", "result", "direction", "process"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(ours[i], label->name) == 0)
            return true;
    return false;
}

static void test_the_manual_tells_of_every_label_and_of_its_words(void **state)
{
    size_t count;
    const struct statistics_row *rows = statistics_rows(&count);
    (void)state;
    read_manual();
    for (size_t i = 0; i < count; i++) {
        char item[120];
        snprintf(item, sizeof item, "\n.It Ic %s\n", rows[i].name);
        const char *paragraph = strstr(manual, item), *end;
        assert_non_null(paragraph);
        paragraph += strlen(item) - 1;
        end = strstr(paragraph, "\n.It Ic ");
        size_t length = end ? (size_t)(end - paragraph) : strlen(paragraph);
        for (unsigned j = 0; j < STATISTICS_LABELS && rows[i].labels[j].name; j++) {
            const struct statistics_label *label = &rows[i].labels[j];
            if (!is_told(paragraph, length, label->name))
                fail_msg("%s: label %s", rows[i].name, label->name);
            for (unsigned k = 0; words_are_ours(label) && k < label->count; k++)
                if (!is_told(paragraph, length, label->word(k)))
                    fail_msg("%s: %s=\"%s\"", rows[i].name, label->name, label->word(k));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_metric_has_a_sample_its_help_and_its_type),
        cmocka_unit_test(
            test_certificate_that_clients_do_not_get_is_told_and_an_unknown_end_is_not),
        cmocka_unit_test(test_a_name_cannot_leave_its_label),
        cmocka_unit_test(test_long_names_are_told_apart_by_their_ends),
        cmocka_unit_test(test_labels_are_where_the_counts_are),
        cmocka_unit_test(test_buckets_add_up),
        cmocka_unit_test(test_counters_are_named_as_such),
        cmocka_unit_test(test_the_manual_tells_of_every_metric_and_of_no_other),
        cmocka_unit_test(test_the_manual_tells_of_every_label_and_of_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
