/* A thief of what a machine keeps cannot read what was said in an earlier period: each
 * period's secret is random by itself, gone with its period, and the same in all processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ssl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "secret_scan.h"
#include "tls/context.h"
#include "tls/ticket_periods.h"

#define SIZE TLS_TICKET_SECRET_SIZE
_Static_assert(SIZE == SECRET_LENGTH, "what is looked for");

static struct ticket_periods *periods;

static int set_up(void **state)
{
    (void)state;
    return (periods = ticket_periods_new()) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ticket_periods_free(periods);
    return 0;
}

static void take(uint64_t period, uint8_t out[static SIZE])
{
    assert_true(ticket_periods_take(periods, period, out));
}

/* Keeps a secret with its bits turned, so that the test itself is not found. */
static void turn(uint8_t secret[static SIZE], char out[static SIZE])
{
    for (size_t i = 0; i < SIZE; i++)
        out[i] = (char)~secret[i];
    explicit_bzero(secret, SIZE);
}

static void test_secret_of_an_earlier_period_is_nowhere_any_more(void **state)
{
    (void)state;
    uint8_t secret[SIZE], next[SIZE];
    char turned[SIZE];
    take(100, secret);
    turn(secret, turned);
    assert_int_not_equal(secret_count(turned), 0);
    take(101, next);
    assert_int_equal(secret_count(turned), 0);
}

static void test_secrets_of_two_periods_have_nothing_in_common(void **state)
{
    (void)state;
    uint8_t first[SIZE], second[SIZE], again[SIZE];
    take(100, first);
    take(101, second);
    assert_memory_not_equal(first, second, SIZE);
    /* The clock was set back: what was erased stays erased. */
    take(50, again);
    assert_memory_not_equal(first, again, SIZE);
    assert_memory_not_equal(second, again, SIZE);
    take(100, again);
    assert_memory_not_equal(first, again, SIZE);
}

static void test_period_has_one_secret(void **state)
{
    (void)state;
    uint8_t first[SIZE], again[SIZE];
    take(100, first);
    take(100, again);
    assert_memory_equal(first, again, SIZE);
}

/* In a child: takes a period's secret and writes it to the pipe. */
static void take_elsewhere(uint64_t period, uint8_t out[static SIZE])
{
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        uint8_t secret[SIZE];
        bool good = ticket_periods_take(periods, period, secret) &&
                    write(pipe_ends[1], secret, SIZE) == SIZE;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(read(pipe_ends[0], out, SIZE), SIZE);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void test_processes_agree_without_talking(void **state)
{
    (void)state;
    uint8_t here[SIZE], there[SIZE], before[SIZE];
    take(100, before);
    take_elsewhere(100, there);
    assert_memory_equal(before, there, SIZE);
    /* Whichever is first in the next period. */
    take_elsewhere(101, there);
    take(101, here);
    assert_memory_equal(here, there, SIZE);
    assert_memory_not_equal(here, before, SIZE);
    /* One whose look at the clock is older than another's draws none for the past. */
    take(100, here);
    assert_memory_equal(here, there, SIZE);
}

static void test_many_processes_at_once_agree(void **state)
{
    (void)state;
    enum { PROCESSES = 8, ROUNDS = 200 };
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() != 0)
            continue;
        uint8_t secrets[ROUNDS][SIZE];
        bool good = true;
        for (int round = 0; round < ROUNDS; round++)
            good = good && ticket_periods_take(periods, 200, secrets[round]) &&
                   memcmp(secrets[round], secrets[0], SIZE) == 0;
        good = good && write(pipe_ends[1], secrets[0], SIZE) == SIZE;
        _exit(good ? 0 : 1);
    }
    uint8_t first[SIZE], other[SIZE];
    close(pipe_ends[1]);
    assert_int_equal(read(pipe_ends[0], first, SIZE), SIZE);
    for (int i = 1; i < PROCESSES; i++) {
        assert_int_equal(read(pipe_ends[0], other, SIZE), SIZE);
        assert_memory_equal(first, other, SIZE);
    }
    close(pipe_ends[0]);
    int status;
    while (wait(&status) > 0)
        assert_int_equal(status, 0);
}

/* Of the key that encrypts tickets and the key that signs them. */
static void test_keys_of_an_earlier_period_are_nowhere_any_more(void **state)
{
    (void)state;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    uint8_t secret[SIZE], keys[80];
    char signing[SIZE], encrypting[SIZE];
    take(100, secret);
    assert_true(tls_context_set_ticket_period(context, secret, 100));
    assert_int_equal(SSL_CTX_get_tlsext_ticket_keys(context, keys, sizeof keys), 1);
    turn(keys + 16, signing);
    turn(keys + 16 + SIZE, encrypting);
    assert_int_not_equal(secret_count(signing), 0);
    assert_int_not_equal(secret_count(encrypting), 0);
    take(101, secret);
    assert_true(tls_context_set_ticket_period(context, secret, 101));
    assert_int_equal(secret_count(signing), 0);
    assert_int_equal(secret_count(encrypting), 0);
    SSL_CTX_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_secret_of_an_earlier_period_is_nowhere_any_more,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_secrets_of_two_periods_have_nothing_in_common,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_period_has_one_secret, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_processes_agree_without_talking, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_many_processes_at_once_agree, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys_of_an_earlier_period_are_nowhere_any_more,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
