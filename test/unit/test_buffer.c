/* The byte queue: nothing lost, nothing kept when empty, no secret left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/buffer.h"

static bool all_zero(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void test_empty_buffer_holds_no_memory(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    (void)state;
    assert_null(buffer_bytes(&buffer));
    assert_true(buffer_append(&buffer, "", 0));
    assert_null(buffer.data);
    assert_true(buffer_append(&buffer, "abc", 3));
    assert_non_null(buffer.data);
    buffer_take(&buffer, 3);
    assert_null(buffer.data);
    assert_non_null(buffer_reserve(&buffer, 10));
    buffer_commit(&buffer, 0);
    assert_null(buffer.data);
    buffer_release(&buffer);
    buffer_wipe(&buffer);
}

static void test_block_is_used_again(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    (void)state;
    char *first = buffer_reserve(&buffer, 1);
    assert_int_equal(buffer.capacity, BUFFER_BLOCK_SIZE);
    buffer_release(&buffer);
    assert_ptr_equal(buffer_reserve(&buffer, 1), first);
    buffer_release(&buffer);
}

static void test_impossible_size_is_refused(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    (void)state;
    assert_true(buffer_append(&buffer, "x", 1));
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    assert_null(buffer_reserve(&buffer, SIZE_MAX / 2));
    assert_null(buffer_reserve(&buffer, (size_t)1 << 30));
    assert_int_equal(buffer.length, 1);
    assert_int_equal(*buffer_bytes(&buffer), 'x');
    buffer_release(&buffer);
}

/* The same appends and takes on a plain array tell what the queue must hold. */
static void test_bytes_come_out_as_they_went_in(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    char in[9000], *wanted = malloc(1 << 20);
    size_t held = 0;
    unsigned seed = 1;
    (void)state;
    assert_non_null(wanted);
    for (int round = 0; round < 5000; round++) {
        size_t count = (size_t)rand_r(&seed) % (round % 7 ? 300 : sizeof in);
        for (size_t i = 0; i < count; i++)
            in[i] = (char)rand_r(&seed);
        assert_true(buffer_append(&buffer, in, count));
        memcpy(wanted + held, in, count);
        held += count;

        size_t taken = held ? (size_t)rand_r(&seed) % (held + 1) : 0;
        if (round % 3 == 0)
            buffer_take_secret(&buffer, taken);
        else
            buffer_take(&buffer, taken);
        held -= taken;
        memmove(wanted, wanted + taken, held);
        assert_int_equal(buffer.length, held);
        if (held > 0)
            assert_memory_equal(buffer_bytes(&buffer), wanted, held);
    }
    buffer_release(&buffer);
    free(wanted);
}

static void test_slow_reader_costs_a_bounded_block(void **state)
{
    static char chunk[1000];
    struct buffer buffer = BUFFER_EMPTY;
    (void)state;
    assert_true(buffer_append(&buffer, chunk, sizeof chunk));
    for (int round = 0; round < 10000; round++) {
        assert_true(buffer_append(&buffer, chunk, sizeof chunk));
        buffer_take(&buffer, sizeof chunk);
    }
    assert_in_range(buffer.capacity, BUFFER_BLOCK_SIZE, 2 * BUFFER_BLOCK_SIZE);
    buffer_release(&buffer);
}

/* So that what is copied stays in proportion to what comes. */
static void test_block_that_is_full_behind_a_short_gap_doubles(void **state)
{
    static char filler[BUFFER_BLOCK_SIZE];
    (void)state;
    for (size_t gap = 1; gap < BUFFER_BLOCK_SIZE / 4; gap += 100) {
        struct buffer buffer = BUFFER_EMPTY;
        assert_true(buffer_append(&buffer, filler, sizeof filler));
        buffer_take(&buffer, gap);
        assert_true(buffer_append(&buffer, filler, gap)); /* needs just the size of the block */
        assert_int_equal(buffer.capacity, 2 * BUFFER_BLOCK_SIZE);
        assert_int_equal(buffer.length, BUFFER_BLOCK_SIZE);
        buffer_release(&buffer);
    }
}

static void test_taken_secret_is_overwritten(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    (void)state;
    assert_true(buffer_append(&buffer, "secretrest", 10));
    const char *place = buffer.data;
    buffer_take_secret(&buffer, 6);
    assert_true(all_zero(place, 6));
    assert_memory_equal(buffer_bytes(&buffer), "rest", 4);
    buffer_release(&buffer);
}

static void test_wiped_buffer_leaves_a_clean_block(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    (void)state;
    assert_true(buffer_append(&buffer, "a line\r\nsecret", 14));
    buffer_take(&buffer, 8);
    buffer_wipe(&buffer);
    /* The kept block comes back; its first bytes have linked it into the free list. */
    char *place = buffer_reserve(&buffer, 1);
    assert_true(all_zero(place + sizeof(void *), BUFFER_BLOCK_SIZE - sizeof(void *)));
    buffer_release(&buffer);
}

static void test_secret_that_moves_leaves_no_copy(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    char filler[BUFFER_BLOCK_SIZE - 100];
    (void)state;
    memset(filler, 0, sizeof filler);

    /* Within its block: the content goes to the front. */
    assert_true(buffer_append(&buffer, filler, sizeof filler));
    assert_true(buffer_append(&buffer, "secret", 6));
    char *old = buffer.data;
    buffer_take(&buffer, sizeof filler);
    assert_non_null(buffer_reserve(&buffer, 200));
    assert_ptr_equal(buffer_bytes(&buffer), old);
    assert_memory_equal(old, "secret", 6);
    assert_true(all_zero(old + 6, BUFFER_BLOCK_SIZE - 6));

    /* To a larger block; the old one is kept for the next buffer. */
    assert_non_null(buffer_reserve(&buffer, BUFFER_BLOCK_SIZE));
    assert_ptr_not_equal(buffer.data, old);
    assert_memory_equal(buffer_bytes(&buffer), "secret", 6);
    assert_true(all_zero(old + sizeof(void *), BUFFER_BLOCK_SIZE - sizeof(void *)));
    buffer_wipe(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_buffer_holds_no_memory),
        cmocka_unit_test(test_block_is_used_again),
        cmocka_unit_test(test_impossible_size_is_refused),
        cmocka_unit_test(test_bytes_come_out_as_they_went_in),
        cmocka_unit_test(test_slow_reader_costs_a_bounded_block),
        cmocka_unit_test(test_block_that_is_full_behind_a_short_gap_doubles),
        cmocka_unit_test(test_taken_secret_is_overwritten),
        cmocka_unit_test(test_wiped_buffer_leaves_a_clean_block),
        cmocka_unit_test(test_secret_that_moves_leaves_no_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
