/* Configuration files that are included in others. */
#include "config_file.h"

#include <ftw.h>

#define E(text) "postern: error: " text "\n"

static void put(const char *name, const char *text)
{
    char file[256];
    snprintf(file, sizeof file, "%s/%s", directory, name);
    FILE *out = fopen(file, "we");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void make(const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "%s/%s", directory, name);
    assert_int_equal(mkdir(file, 0755), 0);
}

/* What is logged of a file, without the directory's name. */
static struct config *load(const char *text, char errors[static 8192])
{
    write_file(text, strlen(text));
    struct capture capture = capture_begin();
    struct config *config = config_load(path);
    capture_end(capture, errors, 8192);
    char *place;
    while ((place = strstr(errors, directory)))
        memmove(place, place + strlen(directory) + 1, strlen(place + strlen(directory)));
    return config;
}

static void assert_refused(const char *text, const char *wanted)
{
    char errors[8192];
    struct config *config = load(text, errors);
    assert_string_equal(errors, wanted);
    assert_null(config);
}

static void test_files_of_a_directory_are_read_in_their_order(void **state)
{
    (void)state;
    make("conf.d");
    put("conf.d/20-b.conf", "listen \"b\" { address = \"*:1002\" }\n");
    put("conf.d/10-a.conf", "listen \"a\" { address = \"*:1001\" }\n");
    put("conf.d/30-c.conf", "include \"more/c.conf\"\nlog { level = debug }");
    put("conf.d/40-d.conf~", "this is no configuration");
    make("conf.d/more");
    put("conf.d/more/c.conf", "listen \"c\" { address = \"*:1003\" }\nlimits { }");
    struct config *config = load_good(TLS "include \"conf.d/*.conf\"\nworkers = 3\n");
    assert_int_equal(config->listen_count, 3);
    assert_string_equal(config->listens[0].name, "a");
    assert_string_equal(config->listens[1].name, "b");
    assert_string_equal(config->listens[2].name, "c");
    assert_int_equal(config->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(config->workers, 3);
    config_free(config);
}

static void test_a_fault_names_the_file_that_it_is_in(void **state)
{
    (void)state;
    put("conf.d/10-a.conf", "workers = 0\nlisten \"a\" {\n addres = \"*:1001\"\n");
    put("conf.d/20-b.conf", "workers = 3\n");
    assert_refused(
        TLS "include \"conf.d/*-?.conf\"\nuser = \"\"\nworkers = 4\n",
        E("conf.d/10-a.conf:1:11: workers: 0 is not from 1 to 256")
            E("conf.d/10-a.conf:3:2: listen \"a\": addres: there is no such key: did you mean "
              "\"address\"?") E("conf.d/10-a.conf:2:1: listen \"a\": the section is not "
                                "closed: its \"}\" is missing")
                E("conf.d/10-a.conf:2:1: listen \"a\": address: must be given")
                    E("conf.d/20-b.conf:1:1: workers: is given twice, first in "
                      "conf.d/10-a.conf, line 1") E("postern.conf:3:8: user: is empty")
                        E("postern.conf:4:1: workers: is given twice, first in "
                          "conf.d/10-a.conf, line 1"));
}

static void test_what_fits_not_together_is_named_where_it_stands(void **state)
{
    (void)state;
    put("conf.d/10-a.conf", "\n\nlisten \"a\" { address = \"*:1001\" backend = {\"x\"} }\n");
    put("conf.d/20-b.conf", "");
    assert_refused(
        TLS "include \"conf.d/*-?.conf\"\n",
        E("conf.d/10-a.conf:3:33: listen \"a\": backend: there is no backend \"x\""));
}

static void test_pattern_may_find_nothing_but_a_name_must(void **state)
{
    (void)state;
    config_free(load_good(TLS "include \"conf.d/*.none\"\ninclude \"nowhere/*.conf\"\n"));
    assert_refused(TLS "include \"none.conf\"\nworkers = 0\n",
                   E("postern.conf:2:9: include: none.conf: No such file or directory")
                       E("postern.conf:3:11: workers: 0 is not from 1 to 256"));
    assert_refused(TLS "include \"conf.d\"\n",
                   E("postern.conf:2:9: include: conf.d: is no regular file"));
    assert_refused(TLS "include \"/dev/zero\"\n",
                   E("postern.conf:2:9: include: /dev/zero: is no regular file"));
}

static void test_file_that_includes_itself_ends(void **state)
{
    char errors[8192];
    (void)state;
    assert_null(load(TLS "include \"postern.conf\"\n", errors));
    assert_non_null(strstr(errors, "postern.conf:2:9: include: more than 8 files include each "
                                   "other: does one include itself?"));
    put("twice.conf", "include \"twice.conf\" include \"twice.conf\" include \"twice.conf\"");
    assert_null(load(TLS "include \"twice.conf\"\n", errors));
    assert_non_null(strstr(errors, "include each other"));
}

static void test_files_are_counted(void **state)
{
    char errors[8192], name[64];
    (void)state;
    make("many");
    for (unsigned i = 0; i < 255; i++) {
        snprintf(name, sizeof name, "many/%03u.conf", i);
        put(name, "");
    }
    config_free(load_good(TLS "include \"many/*.conf\"\n"));
    put("many/255.conf", "");
    assert_null(load(TLS "include \"many/*.conf\"\n", errors));
    assert_string_equal(
        errors, E("postern.conf:2:9: include: \"many/*.conf\" makes more than 256 files"));
}

static int remove_one(const char *name, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove(name);
}

static int remove_all(void **state)
{
    (void)state;
    return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_of_a_directory_are_read_in_their_order),
        cmocka_unit_test(test_a_fault_names_the_file_that_it_is_in),
        cmocka_unit_test(test_what_fits_not_together_is_named_where_it_stands),
        cmocka_unit_test(test_pattern_may_find_nothing_but_a_name_must),
        cmocka_unit_test(test_file_that_includes_itself_ends),
        cmocka_unit_test(test_files_are_counted),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_all);
}
