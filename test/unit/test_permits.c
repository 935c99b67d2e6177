/* What a postmaster has ordered about addresses, as all processes see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/permits.h"

#define NOW UINT64_C(1000000)

static struct permits *permits;

static int make(void **state)
{
    (void)state;
    permits = permits_new();
    return permits ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    permits_free(permits);
    return 0;
}

static struct network network_of(const char *text)
{
    struct network network;
    const char *why;
    assert_true(network_parse(text, &network, &why));
    return network;
}

static const char *add(enum permit_kind kind, const char *network, const char *user,
                       uint64_t lasts_ms)
{
    struct permit order = {kind, network_of(network), NOW + lasts_ms, ""};
    const char *why = NULL;
    snprintf(order.user, sizeof order.user, "%s", user);
    return permits_add(permits, &order, NOW, &why) ? NULL : why;
}

static bool find(enum permit_kind kind, const char *host, uint64_t now_ms, struct permit *out)
{
    struct address address;
    const char *why;
    char text[ADDRESS_TEXT_SIZE];
    snprintf(text, sizeof text, "%s:25", host);
    assert_true(address_parse(text, &address, &why));
    return permits_find(permits, kind, &address, now_ms, out);
}

static void test_order_holds_for_its_network_and_time(void **state)
{
    (void)state;
    assert_null(add(PERMIT_DENY, "192.0.2.0/28", "", 5000));
    assert_null(add(PERMIT_DENY, "2001:db8::/32", "", 9000));
    assert_true(find(PERMIT_DENY, "192.0.2.15", NOW, NULL));
    assert_true(find(PERMIT_DENY, "192.0.2.1", NOW + 4999, NULL));
    assert_true(find(PERMIT_DENY, "[2001:db8::1]", NOW + 8999, NULL));
    assert_false(find(PERMIT_DENY, "192.0.2.16", NOW, NULL));
    assert_false(find(PERMIT_DENY, "192.0.2.1", NOW + 5000, NULL));
    assert_false(find(PERMIT_ALLOW, "192.0.2.1", NOW, NULL));
}

static void test_smallest_network_says_who_it_is(void **state)
{
    struct permit found;
    (void)state;
    assert_null(add(PERMIT_ALLOW, "192.0.2.7", "printer", 5000));
    assert_null(add(PERMIT_ALLOW, "192.0.2.0/24", "office", 5000));
    assert_true(find(PERMIT_ALLOW, "192.0.2.7", NOW, &found));
    assert_string_equal(found.user, "printer");
    assert_true(find(PERMIT_ALLOW, "192.0.2.8", NOW, &found));
    assert_string_equal(found.user, "office");
}

static void test_later_order_takes_the_place_of_an_earlier(void **state)
{
    struct permit list[PERMITS_LIMIT];
    (void)state;
    assert_null(add(PERMIT_ALLOW, "192.0.2.7", "one", 9000));
    assert_null(add(PERMIT_ALLOW, "192.0.2.7", "two", 5000));
    assert_int_equal(permits_list(permits, NOW, list), 1);
    assert_string_equal(list[0].user, "two");
    assert_int_equal(permits_list(permits, NOW + 5000, list), 0);
}

static void test_revoked_is_gone(void **state)
{
    struct network network = network_of("192.0.2.7");
    (void)state;
    assert_null(add(PERMIT_DENY, "192.0.2.7", "", 5000));
    assert_null(add(PERMIT_ALLOW, "192.0.2.7", "", 5000));
    assert_true(permits_revoke(permits, PERMIT_DENY, &network, NOW));
    assert_false(permits_revoke(permits, PERMIT_DENY, &network, NOW));
    assert_false(find(PERMIT_DENY, "192.0.2.7", NOW, NULL));
    assert_true(find(PERMIT_ALLOW, "192.0.2.7", NOW, NULL));
    assert_false(permits_revoke(permits, PERMIT_ALLOW, &network, NOW + 5000));
}

static void test_what_cannot_be_is_refused(void **state)
{
    struct permit order = {PERMIT_ALLOW, {{0}, 128}, NOW + 1, ""};
    const char *why;
    (void)state;
    assert_non_null(strstr(add(PERMIT_ALLOW, "::1", "a b", 1), "no login"));
    assert_non_null(strstr(add(PERMIT_ALLOW, "::1", "a\r\nb", 1), "no login"));
    assert_non_null(strstr(add(PERMIT_DENY, "::1", "a", 1), "has no user"));
    assert_non_null(strstr(add(PERMIT_DENY, "::1", "", 0), "time"));
    assert_non_null(strstr(add(PERMIT_DENY, "::1", "", UINT64_C(400) * 86400000), "time"));
    assert_non_null(strstr(add(PERMIT_ALLOW, "0.0.0.0/0", "", 1), "at once"));
    assert_non_null(strstr(add(PERMIT_ALLOW, "10.0.0.0/15", "", 1), "at once"));
    assert_non_null(strstr(add(PERMIT_ALLOW, "::/0", "", 1), "at once"));
    assert_null(add(PERMIT_ALLOW, "10.0.0.0/16", "", 1));
    assert_non_null(strstr(add(PERMIT_DENY, "0.0.0.0/0", "", 1), "at once"));
    assert_non_null(strstr(add(PERMIT_DENY, "10.0.0.0/7", "", 1), "at once"));
    assert_non_null(strstr(add(PERMIT_DENY, "2000::/15", "", 1), "at once"));
    assert_null(add(PERMIT_DENY, "10.0.0.0/8", "", 1));
    assert_null(add(PERMIT_DENY, "2000::/16", "", 1));
    memset(order.user, 'x', sizeof order.user);
    assert_false(permits_add(permits, &order, NOW, &why));
}

static void test_full_table_refuses_and_forgets_in_time(void **state)
{
    char text[32];
    (void)state;
    for (unsigned i = 0; i < PERMITS_LIMIT; i++) {
        snprintf(text, sizeof text, "192.0.2.%u", i);
        assert_null(add(PERMIT_DENY, text, "", i == 7 ? 10 : 5000));
    }
    assert_non_null(strstr(add(PERMIT_DENY, "::1", "", 5000), "too many"));
    assert_true(find(PERMIT_DENY, "192.0.2.255", NOW, NULL));
    struct permit order = {PERMIT_DENY, network_of("::1"), NOW + 5000, ""};
    const char *why;
    assert_true(permits_add(permits, &order, NOW + 10, &why));
}

static void test_processes_share_it(void **state)
{
    int status;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(add(PERMIT_ALLOW, "192.0.2.7", "printer", 5000) ? 1 : 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(find(PERMIT_ALLOW, "192.0.2.7", NOW, NULL));
}

static void test_next_program_takes_it_over(void **state)
{
    (void)state;
    assert_null(add(PERMIT_DENY, "192.0.2.7", "", 5000));
    int descriptor = dup(permits_descriptor(permits)), other = memfd_create("x", MFD_CLOEXEC);
    permits_free(permits);
    permits = permits_adopt(descriptor);
    assert_non_null(permits);
    assert_true(find(PERMIT_DENY, "192.0.2.7", NOW, NULL));
    struct stat status;
    assert_int_equal(fstat(descriptor, &status), 0);
    assert_null(permits_adopt(other));
    assert_int_equal(ftruncate(other, status.st_size), 0);
    assert_null(permits_adopt(other));
    assert_null(permits_adopt(-1));
    close(other);
}

/* Threat 22: another process of ours was taken over, and has written what it likes. */
static void test_garbage_in_the_shared_memory_hurts_nobody(void **state)
{
    struct permit list[PERMITS_LIMIT], found;
    struct stat status;
    int descriptor = permits_descriptor(permits);
    (void)state;
    assert_int_equal(fstat(descriptor, &status), 0);
    char *memory =
        mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    for (int byte = 1; byte < 256; byte++) {
        memset(memory, byte, (size_t)status.st_size);
        assert_int_equal(permits_descriptor(permits), descriptor);
        size_t count = permits_list(permits, NOW, list);
        assert_true(count <= PERMITS_LIMIT);
        if (byte % 2) /* half written, by somebody who never came back */
            assert_int_equal(count, 0);
        if (find(PERMIT_ALLOW, "192.0.2.7", NOW, &found))
            assert_true(strlen(found.user) < sizeof found.user);
        (void)!add(PERMIT_DENY, "192.0.2.7", "", 5000);
    }
    munmap(memory, (size_t)status.st_size);
}

/* Threat 22. */
static void test_network_that_cannot_be_holds_nobody(void **state)
{
    struct permit list[PERMITS_LIMIT], found;
    struct network network;
    struct stat status;
    const char *why;
    int descriptor = permits_descriptor(permits);
    (void)state;
    assert_true(network_parse("192.0.2.7", &network, &why));
    add(PERMIT_DENY, "192.0.2.7", "", NOW);
    assert_int_equal(fstat(descriptor, &status), 0);
    size_t size = (size_t)status.st_size;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    struct network *there = memmem(memory, size, &network, sizeof network);
    assert_non_null(there);
    assert_int_equal(permits_list(permits, NOW, list), 1);
    there->bits = 129;
    assert_int_equal(permits_list(permits, NOW, list), 0);
    assert_false(find(PERMIT_DENY, "192.0.2.7", NOW, &found));
    munmap(memory, size);
}

int main(void)
{
#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, make, unmake)
    const struct CMUnitTest tests[] = {
        WITH_TABLE(test_order_holds_for_its_network_and_time),
        WITH_TABLE(test_smallest_network_says_who_it_is),
        WITH_TABLE(test_later_order_takes_the_place_of_an_earlier),
        WITH_TABLE(test_revoked_is_gone),
        WITH_TABLE(test_what_cannot_be_is_refused),
        WITH_TABLE(test_full_table_refuses_and_forgets_in_time),
        WITH_TABLE(test_processes_share_it),
        WITH_TABLE(test_next_program_takes_it_over),
        WITH_TABLE(test_garbage_in_the_shared_memory_hurts_nobody),
        WITH_TABLE(test_network_that_cannot_be_holds_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
