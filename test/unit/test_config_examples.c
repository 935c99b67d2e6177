/*
 * What configurations mean: the sample, all examples, and all ways of spelling. The file
 * config_examples.txt has the values of each that are not defaults. A new parser, or a new
 * option, changes none of them.
 */
#include "config_file.h"

#include <glob.h>

#include "config_dump.h"

#define HEAD "== "

/* Reads a file, to be freed. */
static char *read_whole(const char *name)
{
    char file[512];
    size_t length = 0;
    const char *why;
    snprintf(file, sizeof file, "%s/%s", SOURCE_ROOT, name);
    char *text = config_text_read(file, &length, &why);
    if (!text)
        fail_msg("%s cannot be read", file);
    char *whole = realloc(text, length + 1);
    assert_non_null(whole);
    whole[length] = '\0';
    return whole;
}

/* Programs of other mail servers need not be here. */
static void use_programs_of_this_host(char *text)
{
    static const char there[] = "/bin/true";
    char *program = strstr(text, "program");
    char *start = program ? strstr(program, "\"/") : NULL;
    if (!start)
        return;
    size_t length = strcspn(start + 1, " \"");
    memset(start + 1, '/', length);
    memcpy(start + 1 + length - strlen(there), there, strlen(there));
}

static void load_what_is_printed(struct config **config, const char *name)
{
    char errors[8192], *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    config_print(*config, out);
    fclose(out);
    config_free(*config);
    *config = load_text(text, length, errors, sizeof errors);
    if (!*config)
        fail_msg("%s, printed: %s", name, errors);
    free(text);
}

/* `printed`: of what config_print() makes of it. */
static char *meaning_of(const char *name, bool printed)
{
    char errors[8192];
    char *text = read_whole(name);
    use_programs_of_this_host(text);
    struct config *config = load_text(text, strlen(text), errors, sizeof errors);
    if (!config)
        fail_msg("%s: %s", name, errors);
    if (printed)
        load_what_is_printed(&config, name);
    if (!strstr(text, "\nhostname") && !strstr(text, " hostname"))
        strcpy(config->hostname, ""); /* this host's */
    char *meaning = dump_config(config);
    config_free(config);
    free(text);
    return meaning;
}

static void test_examples_mean_what_they_have_always_meant(void **state)
{
    char *expected = read_whole("test/unit/config_examples.txt"), *next = expected;
    (void)state;
    assert_memory_equal(next, HEAD, strlen(HEAD));
    while (next) {
        char *name = next + strlen(HEAD), *rest = strchr(name, '\n') + 1;
        rest[-1] = '\0';
        next = strstr(rest, HEAD);
        if (next)
            *next = '\0';
        char *meaning = meaning_of(name, false);
        if (strcmp(meaning, rest) != 0) {
            fprintf(stderr, HEAD "%s\n%s" HEAD "\n", name, meaning);
            fail_msg("%s means something else", name);
        }
        free(meaning);
    }
    free(expected);
}

static void test_what_is_printed_means_the_same(void **state)
{
    char *names = read_whole("test/unit/config_examples.txt"), *at = names;
    (void)state;
    while ((at = strstr(at, HEAD))) {
        char *name = at + strlen(HEAD);
        at = strchr(name, '\n');
        *at++ = '\0';
        char *written = meaning_of(name, false), *printed = meaning_of(name, true);
        assert_string_equal(written, printed);
        free(written);
        free(printed);
    }
    free(names);
}

static void test_no_example_is_left_out(void **state)
{
    glob_t found = {0};
    char *expected = read_whole("test/unit/config_examples.txt");
    (void)state;
    assert_int_equal(glob(SOURCE_ROOT "/etc/examples/*/postern.conf", 0, NULL, &found), 0);
    assert_int_equal(
        glob(SOURCE_ROOT "/etc/examples/*/*/postern.conf", GLOB_APPEND, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (!strstr(expected, found.gl_pathv[i] + strlen(SOURCE_ROOT "/")))
            fail_msg("%s is left out", found.gl_pathv[i]);
    globfree(&found);
    free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_mean_what_they_have_always_meant),
        cmocka_unit_test(test_what_is_printed_means_the_same),
        cmocka_unit_test(test_no_example_is_left_out),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
