/*
 * The manual and the sample say what the table of options says: every key in its section with
 * its default as it is written, and nothing that does not exist.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config.h"

/* What a document says of one key. `fallback` is "" where it must be given. */
struct claim {
    char section[32], key[64], fallback[512];
    bool must_be_given;
};

/* Bytes, and keys, of the longest document. */
#define DOCUMENT_LIMIT (128 * 1024)
#define CLAIMS         160

struct claims {
    size_t count;
    struct claim list[CLAIMS];
};

static char *read_document(const char *path)
{
    char *text = calloc(1, DOCUMENT_LIMIT);
    FILE *file = fopen(path, "re");
    if (!text || !file)
        fail_msg("%s cannot be read", path);
    size_t length = fread(text, 1, DOCUMENT_LIMIT - 1, file);
    fclose(file);
    assert_in_range(length, 1, DOCUMENT_LIMIT - 2);
    return text;
}

/* Cuts the next line off; a line that ends in a backslash goes on in the next one. */
static char *next_line(char **rest)
{
    char *line = *rest, *end;
    if (!*line)
        return NULL;
    while ((end = strstr(line, "\\\n")) && !memchr(line, '\n', (size_t)(end - line)))
        memmove(end, end + 2, strlen(end + 2) + 1);
    end = strchr(line, '\n');
    *rest = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    return line;
}

static const char *after(const char *line, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(line, prefix, length) == 0 ? line + length : NULL;
}

static struct claim *add_claim(struct claims *claims, const char *section, const char *key)
{
    assert_in_range(claims->count, 0, CLAIMS - 1);
    struct claim *claim = &claims->list[claims->count++];
    snprintf(claim->section, sizeof claim->section, "%s", section);
    snprintf(claim->key, sizeof claim->key, "%s", key);
    return claim;
}

/* "Default: X." and "Must be given.", in the paragraph of a key. */
static void take_statement(struct claim *claim, const char *line)
{
    const char *fallback = after(line, "Default: ");
    if (strcmp(line, "Must be given.") == 0)
        claim->must_be_given = true;
    if (!fallback)
        return;
    assert_string_equal(claim->fallback, "");
    size_t length = strlen(fallback);
    assert_in_range(length, 2, sizeof claim->fallback - 1);
    assert_int_equal(fallback[length - 1], '.');
    memcpy(claim->fallback, fallback, length - 1);
}

static void read_manual(struct claims *claims)
{
    char *text = read_document(MANUAL_PATH), *rest = text, *line;
    char section[32] = "";
    bool options = false;
    claims->count = 0;
    while ((line = next_line(&rest))) {
        const char *heading = after(line, ".Ss "), *key = after(line, ".It Ic ");
        if (heading) {
            options = true;
            snprintf(section, sizeof section, "%s",
                     strcmp(heading, "Top level") == 0 ? "" : heading);
        }
        if (after(line, ".Sh "))
            options = false;
        if (options && key)
            add_claim(claims, section, key);
        else if (options && claims->count > 0)
            take_statement(&claims->list[claims->count - 1], line);
    }
    free(text);
}

/* A key of the sample: "key = value", or "#key = value" for a default. Prose is "# words". */
static void take_setting(struct claims *claims, const char *section, const char *line)
{
    const char *equals = strstr(line, " = ");
    bool is_default = *line == '#';
    if (is_default)
        line++;
    if (!equals || !islower((unsigned char)*line))
        return;
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(equals - line), line);
    struct claim *claim = add_claim(claims, section, key);
    claim->must_be_given = !is_default;
    snprintf(claim->fallback, sizeof claim->fallback, "%s", equals + 3);
}

static void read_sample(struct claims *claims)
{
    char *text = read_document(SAMPLE_PATH), *rest = text, *line;
    char section[32] = "";
    bool commented = false;
    claims->count = 0;
    while ((line = next_line(&rest))) {
        line += strspn(line, " ");
        /* A section that nobody has by default is shown whole. */
        size_t length = strlen(line);
        commented |= strncmp(line, "# ", 2) == 0 && strcmp(line + length - 2, " {") == 0;
        if (commented)
            line += 1 + strspn(line + 1, " ");
        if (*line != '#' && strstr(line, " {"))
            snprintf(section, sizeof section, "%.*s", (int)strcspn(line, " "), line);
        if (strcmp(line, "}") == 0) {
            section[0] = '\0';
            commented = false;
        }
        take_setting(claims, section, line);
    }
    free(text);
}

static const struct claim *find_claim(const struct claims *claims, const char *section,
                                      const char *key)
{
    for (size_t i = 0; i < claims->count; i++)
        if (strcmp(claims->list[i].section, section) == 0 &&
            strcmp(claims->list[i].key, key) == 0)
            return &claims->list[i];
    return NULL;
}

static bool option_exists(const char *section, const char *key)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(options[i].section, section) == 0 && strcmp(options[i].key, key) == 0)
            return true;
    return false;
}

static void assert_only_what_exists(const struct claims *claims, const char *document)
{
    for (size_t i = 0; i < claims->count; i++)
        if (!option_exists(claims->list[i].section, claims->list[i].key))
            fail_msg("%s: section \"%s\" has no key \"%s\"", document, claims->list[i].section,
                     claims->list[i].key);
}

static void test_manual_tells_each_key_with_its_default(void **state)
{
    static struct claims claims;
    size_t count;
    const struct config_option *options = config_options(&count);
    (void)state;
    read_manual(&claims);
    for (size_t i = 0; i < count; i++) {
        const struct claim *claim = find_claim(&claims, options[i].section, options[i].key);
        if (!claim)
            fail_msg("\"%s\" in section \"%s\" is not in the manual", options[i].key,
                     options[i].section);
        const char *fallback = options[i].fallback;
        if (strcmp(claim->fallback, fallback ? fallback : "") != 0 ||
            claim->must_be_given != !fallback)
            fail_msg("%s %s: the manual says \"%s\", the table \"%s\"", options[i].section,
                     options[i].key, claim->fallback, fallback ? fallback : "must be given");
    }
}

static void test_manual_tells_nothing_that_does_not_exist(void **state)
{
    static struct claims claims;
    size_t count;
    (void)state;
    config_options(&count);
    read_manual(&claims);
    assert_only_what_exists(&claims, "manual");
    assert_int_equal(claims.count, count);
}

static void test_sample_shows_each_key_with_its_default(void **state)
{
    static struct claims claims;
    size_t count;
    const struct config_option *options = config_options(&count);
    (void)state;
    read_sample(&claims);
    assert_only_what_exists(&claims, "sample");
    for (size_t i = 0; i < count; i++) {
        const struct claim *claim = find_claim(&claims, options[i].section, options[i].key);
        if (!claim)
            fail_msg("\"%s\" in section \"%s\" is not in the sample", options[i].key,
                     options[i].section);
        if (!claim->must_be_given)
            assert_string_equal(claim->fallback, options[i].fallback);
        else if (options[i].fallback)
            assert_string_equal(options[i].section, "listen");
    }
}

static void assert_same(const struct config *a, const struct config *b)
{
    assert_string_equal(a->hostname, b->hostname);
    assert_string_equal(a->tls.certificate, "/etc/postern/fullchain.pem");
    assert_string_equal(b->tls.certificate, "/etc/postern/fullchain.pem");
    assert_string_equal(a->tls.ciphers, b->tls.ciphers);
    assert_int_equal(a->listen_count, b->listen_count);
    for (size_t i = 0; i < a->listen_count; i++) {
        assert_string_equal(a->listens[i].name, b->listens[i].name);
        assert_string_equal(a->listens[i].address_text, b->listens[i].address_text);
        assert_int_equal(a->listens[i].tls, b->listens[i].tls);
    }
    assert_int_equal(a->auth.mechanisms, b->auth.mechanisms);
    assert_int_equal(a->backends[0].required, b->backends[0].required);
    assert_memory_equal(&a->limits, &b->limits, sizeof a->limits);
    assert_memory_equal(&a->timeouts, &b->timeouts, sizeof a->timeouts);
    assert_memory_equal(&a->log, &b->log, sizeof a->log);
}

/* Writes `text` to a file and loads it. */
static struct config *load_text(const char *text)
{
    char path[] = "/tmp/postern-sample-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct config *config = config_load(path);
    unlink(path);
    return config;
}

static void test_sample_loads_and_changes_no_default(void **state)
{
    (void)state;
    struct config *sample = config_load(SAMPLE_PATH);
    assert_non_null(sample);
    struct config *least = load_text("tls { certificate = \"/etc/postern/fullchain.pem\"\n"
                                     "key = \"/etc/postern/privkey.pem\" }\n");
    assert_non_null(least);
    assert_same(sample, least);
    config_free(sample);
    config_free(least);
}

/* Somebody takes the '#' away before each default. */
static void test_sample_with_all_its_defaults_switched_on_loads(void **state)
{
    char *text = read_document(SAMPLE_PATH);
    (void)state;
    for (char *at = text; *at; at++)
        if (*at == '#' && islower((unsigned char)at[1]))
            *at = ' ';
    struct config *whole = load_text(text), *sample = config_load(SAMPLE_PATH);
    assert_non_null(whole);
    assert_non_null(sample);
    assert_same(whole, sample);
    config_free(whole);
    config_free(sample);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manual_tells_each_key_with_its_default),
        cmocka_unit_test(test_manual_tells_nothing_that_does_not_exist),
        cmocka_unit_test(test_sample_shows_each_key_with_its_default),
        cmocka_unit_test(test_sample_loads_and_changes_no_default),
        cmocka_unit_test(test_sample_with_all_its_defaults_switched_on_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
