/* Who is ours at a door for inbound mail, and what a postmaster is told of a list that is
 * wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/recipients.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* So many allocations succeed, and those after them fail. */
static unsigned allocations_left = UINT32_MAX;

static bool may_allocate(void)
{
    return allocations_left > 0 && allocations_left--;
}

/* In place of the C library's. */
void *reallocarray(void *memory, size_t count, size_t size)
{
    return may_allocate() ? realloc(memory, count * size) : NULL;
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = may_allocate() ? malloc(size) : NULL;
    return copy ? memcpy(copy, text, size) : NULL;
}

static struct recipients *listed(const char *const *words, size_t count)
{
    char error[RECIPIENTS_ERROR_SIZE] = "";
    struct recipients *recipients = recipients_new();
    assert_non_null(recipients);
    for (size_t i = 0; i < count; i++)
        if (!recipients_add(recipients, words[i], error))
            fail_msg("%s", error);
    return recipients;
}

static bool includes(struct recipients *recipients, const char *address)
{
    struct smtp_forward_path path;
    assert_int_equal(smtp_forward_path_parse_address(address, strlen(address), &path),
                     SMTP_FORWARD_PATH_OK);
    return recipients_include(recipients, &path);
}

static void test_who_is_ours(void **state)
{
    static const char *const words[] = {"example.org", ".Example.NET", "Bob@example.com",
                                        "\"a..b\"@example.com", "x"};
    static const struct {
        const char *address;
        bool ours;
    } cases[] = {
        {"alice@example.org", true},
        {"ALICE+detail@EXAMPLE.ORG", true},
        {"alice@mail.example.org", false},
        {"alice@xexample.org", false},
        {"alice@example.or", false},
        {"alice@example.orgx", false},
        {"alice@example.net", false},
        {"alice@mail.example.net", true},
        {"alice@a.b.c.example.net", true},
        {"alice@xexample.net", false},
        {"alice@example.net.example.edu", false},
        {"bob@example.com", true},
        {"BOB@Example.Com", true},
        {"\"bob\"@example.com", true},
        {"\"a..b\"@example.com", true},
        {"bob+x@example.com", false},
        {"alice@example.com", false},
        {"bob@mail.example.com", false},
        {"alice@x", true},
        {"alice@y", false},
        {"postmaster", true},
        {"postmaster@other.example", false},
    };
    struct recipients *recipients = listed(words, COUNT(words));
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (includes(recipients, cases[i].address) != cases[i].ours)
            fail_msg("%s", cases[i].address);
    assert_int_equal(recipients_count(recipients), COUNT(words));
    recipients_free(recipients);
}

/* Mail for those who are not on it would be refused for good. */
static void test_list_that_memory_has_no_room_for_is_refused(void **state)
{
    (void)state;
    for (unsigned left = 0; left < 3; left++) {
        char error[RECIPIENTS_ERROR_SIZE] = "";
        struct recipients *recipients = recipients_new();
        assert_non_null(recipients);
        allocations_left = left;
        bool added = recipients_add(recipients, "example.org", error);
        allocations_left = UINT32_MAX;
        assert_int_equal(added, left == 2);
        assert_string_equal(error, added ? "" : "\"example.org\": out of memory");
        recipients_free(recipients);
    }
}

static void test_empty_list_is_nobody(void **state)
{
    struct recipients *recipients = listed(NULL, 0);
    (void)state;
    assert_false(includes(recipients, "alice@example.org"));
    assert_true(includes(recipients, "postmaster"));
    assert_int_equal(recipients_count(recipients), 0);
    recipients_free(recipients);
}

static void test_entries_count_once(void **state)
{
    static const char *const words[] = {"example.org", "EXAMPLE.org", "a@b", "\"a\"@B",
                                        ".example.org"};
    struct recipients *recipients = listed(words, COUNT(words));
    (void)state;
    assert_int_equal(recipients_count(recipients), 3);
    recipients_free(recipients);
}

/* The list may grow between two look-ups. */
static void test_many_entries_are_all_found(void **state)
{
    struct recipients *recipients = listed(NULL, 0);
    char word[64], error[RECIPIENTS_ERROR_SIZE];
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(word, sizeof word, "user%u@domain%u.example", i * 7919 % 5000, i % 13);
        assert_true(recipients_add(recipients, word, error));
        if (i % 1000 == 0)
            assert_true(includes(recipients, word));
    }
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(word, sizeof word, "USER%u@domain%u.example", i * 7919 % 5000, i % 13);
        assert_true(includes(recipients, word));
    }
    assert_false(includes(recipients, "user0@domain13.example"));
    recipients_free(recipients);
}

static void test_words_that_are_wrong_are_named(void **state)
{
    static const struct {
        const char *word, *error;
    } cases[] = {
        {"", "\"\": neither a domain nor an address"},
        {".", "\".\": neither a domain nor an address"},
        {"example.org.", "\"example.org.\": neither a domain nor an address"},
        {"*.example.org", "\"*.example.org\": neither a domain nor an address"},
        {"example org", "\"example org\": neither a domain nor an address"},
        {"b\xc3\xbc"
         "cher.example",
         "\"b\xc3\xbc"
         "cher.example\": neither a domain nor an address"},
        {"@example.org", "\"@example.org\": source route"},
        {"a@b@c", "\"a@b@c\": more than one @"},
        {"a%b@c", "\"a%b@c\": percent hack"},
        {"a@[127.0.0.1]", "\"a@[127.0.0.1]\": address literal"},
        {"a@", "\"a@\": syntax error"},
        {"/nonexistent/list", "/nonexistent/list: No such file or directory"},
        {"/", "/: Is a directory"},
    };
    struct recipients *recipients = listed(NULL, 0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char error[RECIPIENTS_ERROR_SIZE] = "";
        assert_false(recipients_add(recipients, cases[i].word, error));
        assert_string_equal(error, cases[i].error);
    }
    assert_int_equal(recipients_count(recipients), 0);
    recipients_free(recipients);
}

/* A file with that content, for recipients_add(); the caller unlinks it. */
static void write_file(char path[static 32], const char *content, size_t length)
{
    strcpy(path, "/tmp/recipients.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, length), length);
    close(fd);
}

static void test_files_have_one_entry_on_a_line(void **state)
{
    static const char content[] = "# ours\n"
                                  "example.org\n"
                                  "\n"
                                  "  \t\n"
                                  "\texample.net   # and theirs\r\n"
                                  "a#b@example.com\n"
                                  "bob@example.com#\t\n"
                                  ".example.edu";
    char path[32], error[RECIPIENTS_ERROR_SIZE] = "";
    struct recipients *recipients = listed(NULL, 0);
    (void)state;
    write_file(path, content, sizeof content - 1);
    bool added = recipients_add(recipients, path, error);
    unlink(path);
    assert_false(added);
    assert_non_null(strstr(error, ":7: syntax error"));
    recipients_free(recipients);

    recipients = listed(NULL, 0);
    write_file(path, content, (size_t)(strstr(content, "bob") - content));
    assert_true(recipients_add(recipients, path, error));
    unlink(path);
    assert_int_equal(recipients_count(recipients), 3);
    assert_true(includes(recipients, "alice@example.org"));
    assert_true(includes(recipients, "alice@example.net"));
    assert_true(includes(recipients, "a#b@example.com"));
    recipients_free(recipients);
}

/* An error names the file and the line; what would include another file, or hides behind a NUL,
 * is one. */
static void test_lines_that_are_wrong_are_named(void **state)
{
    static const struct {
        const char *content;
        size_t length;
        const char *error;
    } cases[] = {
        {"a.example\n/etc/passwd\n", 22, ":2: neither a domain nor an address"},
        {"a.example b.example\n", 20, ":1: neither a domain nor an address"},
        {"\n\na.example,\n", 13, ":3: neither a domain nor an address"},
        {"a.example\0b\n", 12, ":1: neither a domain nor an address"},
        {"a@b\0c\n", 6, ":1: control character"},
        {"a@b.c.\n", 7, ":1: syntax error"},
        {"", 0, ": it names no recipient"}, /* a script was caught while it wrote */
        {"# ours\n\n", 8, ": it names no recipient"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[32], error[RECIPIENTS_ERROR_SIZE] = "";
        struct recipients *recipients = listed(NULL, 0);
        write_file(path, cases[i].content, cases[i].length);
        assert_false(recipients_add(recipients, path, error));
        unlink(path);
        assert_memory_equal(error, path, strlen(path));
        assert_string_equal(error + strlen(path), cases[i].error);
        recipients_free(recipients);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_ours),
        cmocka_unit_test(test_list_that_memory_has_no_room_for_is_refused),
        cmocka_unit_test(test_empty_list_is_nobody),
        cmocka_unit_test(test_entries_count_once),
        cmocka_unit_test(test_many_entries_are_all_found),
        cmocka_unit_test(test_words_that_are_wrong_are_named),
        cmocka_unit_test(test_files_have_one_entry_on_a_line),
        cmocka_unit_test(test_lines_that_are_wrong_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
