/* The message scanner against a plain model of it, every way of cutting a message up, and the
 * sequences that have ended other proxies' messages early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message_model.h"
#include "proxy/smtp/data.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

struct text {
    const char *bytes;
    size_t length;
};
#define TEXT(literal)                                                                          \
    {                                                                                          \
        literal, sizeof(literal) - 1                                                           \
    }

#define LONGEST 64

static const struct {
    const char *name;
    struct text in, out;
    size_t rest; /* bytes behind the end; NOT_ENDED: the message goes on */
} cases[] = {
#define NOT_ENDED SIZE_MAX
    {"ordinary", TEXT("a\r\nb\r\n.\r\n"), TEXT("a\r\nb\r\n.\r\n"), 0},
    {"empty", TEXT(".\r\n"), TEXT(".\r\n"), 0},
    {"commands behind it are left", TEXT("a\r\n.\r\nQUIT\r\n"), TEXT("a\r\n.\r\n"), 6},
    {"no end", TEXT("a\r\n"), TEXT("a\r\n"), NOT_ENDED},
    {"stuffed dots are kept", TEXT("..\r\n..a\r\n.\r\n"), TEXT("..\r\n..a\r\n.\r\n"), 0},
    {"dot before text", TEXT(".a\r\n.\r\n"), TEXT(".a\r\n.\r\n"), 0},
    {"dot at the end of a line", TEXT("a.\r\n.\r\n"), TEXT("a.\r\n.\r\n"), 0},
    {"8-bit", TEXT("\xff\x80\r\n.\r\n"), TEXT("\xff\x80\r\n.\r\n"), 0},
    {"threat 7: LF.LF", TEXT("a\n.\nMAIL"), TEXT("a\r\n..\r\nMAIL"), NOT_ENDED},
    {"threat 7: LF.CRLF", TEXT("a\n.\r\nMAIL"), TEXT("a\r\n..\r\nMAIL"), NOT_ENDED},
    {"threat 7: LF.CR", TEXT("a\n.\rMAIL"), TEXT("a\r\n.. MAIL"), NOT_ENDED},
    {"threat 7: CRLF.LF", TEXT("a\r\n.\nMAIL"), TEXT("a\r\n..\r\nMAIL"), NOT_ENDED},
    {"threat 7: CRLF.CR", TEXT("a\r\n.\rMAIL"), TEXT("a\r\n. MAIL"), NOT_ENDED},
    {"threat 7: CR.CR", TEXT("a\r.\rMAIL"), TEXT("a . MAIL"), NOT_ENDED},
    {"threat 7: CR.CRLF", TEXT("a\r.\r\nMAIL"), TEXT("a .\r\nMAIL"), NOT_ENDED},
    {"threat 7: CR.LF", TEXT("a\r.\nMAIL"), TEXT("a .\r\nMAIL"), NOT_ENDED},
    {"threat 7: CRLF.CRCRLF", TEXT("a\r\n.\r\r\nMAIL"), TEXT("a\r\n. \r\nMAIL"), NOT_ENDED},
    {"threat 7: CRCRLF.CRLF", TEXT("a\r\r\n.\r\nMAIL"), TEXT("a \r\n.\r\n"), 4},
    {"threat 7: CRLF.NULCRLF", TEXT("a\r\n.\0\r\nMAIL"), TEXT("a\r\n. \r\nMAIL"), NOT_ENDED},
    {"threat 7: CRLFNUL.CRLF", TEXT("a\r\n\0.\r\nMAIL"), TEXT("a\r\n .\r\nMAIL"), NOT_ENDED},
    {"threat 7: CRNULLF.CRLF", TEXT("a\r\0\n.\r\nMAIL"), TEXT("a  \r\n..\r\nMAIL"), NOT_ENDED},
    {"threat 7: CRLF.CRNULLF", TEXT("a\r\n.\r\0\nMAIL"), TEXT("a\r\n.  \r\nMAIL"), NOT_ENDED},
    {"threat 7: LFLF.LF", TEXT("a\n\n.\nMAIL"), TEXT("a\r\n\r\n..\r\nMAIL"), NOT_ENDED},
    {"threat 7: LFCR.CRLF", TEXT("a\n\r.\r\nMAIL"), TEXT("a\r\n .\r\nMAIL"), NOT_ENDED},
    {"threat 7: .LF first", TEXT(".\nMAIL"), TEXT("..\r\nMAIL"), NOT_ENDED},
    {"threat 7: .CR first", TEXT(".\rMAIL"), TEXT(". MAIL"), NOT_ENDED},
    {"threat 7: LF.LF, then the end", TEXT("\n.\n.\r\n\r\n.\r\n"),
     TEXT("\r\n..\r\n..\r\n\r\n.\r\n"), 0},
};

static void test_each_message_arrives_as_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[MESSAGE_GROWTH * LONGEST];
        struct message_result result = {.out = out};
        struct smtp_data data = SMTP_DATA_START;
        assert_true(message_scan(&data, cases[i].in.bytes, cases[i].in.length, &result));
        bool ended = cases[i].rest != NOT_ENDED;
        size_t rest = ended ? cases[i].rest : 0;
        if (result.length != cases[i].out.length || result.ended != ended ||
            memcmp(out, cases[i].out.bytes, result.length) != 0 ||
            result.consumed + rest != cases[i].in.length)
            fail_msg("%s: got %zu bytes, ended %d, %zu taken", cases[i].name, result.length,
                     result.ended, result.consumed);
        assert_null(message_danger(&result));
    }
}

/* The log tells how many, and one is enough to refuse a message where that is configured. */
static void test_repairs_are_counted(void **state)
{
    static const struct {
        struct text in;
        uint64_t repaired;
    } counts[] = {
        {TEXT("a\r\n..\r\n.\r\n"), 0}, {TEXT("a\nb\r\n"), 1}, {TEXT("a\rb\r\n"), 1},
        {TEXT("a\0b\r\n"), 1},         {TEXT("\n\r\0\n"), 4}, {TEXT(".\n.\n"), 2},
        {TEXT("a\r\r\n"), 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(counts); i++) {
        char out[MESSAGE_GROWTH * LONGEST];
        struct message_result whole = {.out = out};
        struct smtp_data data = SMTP_DATA_START;
        assert_true(message_scan(&data, counts[i].in.bytes, counts[i].in.length, &whole));
        assert_int_equal(data.repaired, counts[i].repaired);

        struct message_result bytewise = {.out = out};
        data = SMTP_DATA_START;
        for (size_t j = 0; j < counts[i].in.length && !bytewise.ended; j++)
            assert_true(message_scan(&data, counts[i].in.bytes + j, 1, &bytewise));
        assert_int_equal(data.repaired, counts[i].repaired);
    }
}

static void describe(const char *in, size_t length, unsigned cuts)
{
    print_error("message");
    for (size_t i = 0; i < length; i++)
        print_error("%s %02x", i > 0 && (cuts >> (i - 1) & 1u) ? " |" : "",
                    (unsigned char)in[i]);
    print_error("\n");
}

/* Bit i of `cuts`: the message is cut behind byte i. */
static void check_cut_up(const char *in, size_t length, unsigned cuts,
                         const struct message_result *expected)
{
    char out[MESSAGE_GROWTH * LONGEST];
    struct message_result result = {.out = out};
    struct smtp_data data = SMTP_DATA_START;
    bool rules_kept = true;
    for (size_t start = 0, end = 1; start < length && !result.ended; end++) {
        if (end < length && !(cuts >> (end - 1) & 1u))
            continue;
        rules_kept = rules_kept && message_scan(&data, in + start, end - start, &result);
        start = end;
    }
    /* Alone, the scanner has taken a last CR and holds it back. */
    size_t held = data.position == SMTP_DATA_CR || data.position == SMTP_DATA_DOT_CR;
    if (rules_kept && result.length == expected->length && result.ended == expected->ended &&
        result.consumed == expected->consumed + held &&
        memcmp(out, expected->out, result.length) == 0)
        return;
    describe(in, length, cuts);
    fail_msg("scanner and model differ");
}

static void check_every_way(const char *in, size_t length)
{
    char out[MESSAGE_GROWTH * LONGEST];
    struct message_result expected = {.out = out};
    message_model(in, length, &expected);
    const char *danger = message_danger(&expected);
    if (danger) {
        describe(in, length, 0);
        fail_msg("the backend would be sent: %s", danger);
    }
    for (unsigned cuts = 0; cuts < 1u << (length - 1); cuts++)
        check_cut_up(in, length, cuts, &expected);
}

/* Promise 5. */
static void test_every_short_message_cut_up_in_every_way(void **state)
{
    static const char alphabet[] = {'\r', '\n', '.', '\0', 'a'};
    unsigned long total = 1;
    (void)state;
    for (size_t length = 1; length <= 7; length++) {
        total *= COUNT(alphabet);
        for (unsigned long number = 0; number < total; number++) {
            char in[LONGEST];
            unsigned long left = number;
            for (size_t i = 0; i < length; i++, left /= COUNT(alphabet))
                in[i] = alphabet[left % COUNT(alphabet)];
            check_every_way(in, length);
        }
    }
}

static const uint8_t starts[] = {SMTP_DATA_LINE_START, SMTP_DATA_TEXT, SMTP_DATA_DOT,
                                 SMTP_DATA_SOFT_START};

static void check_skips(const char *in, size_t length)
{
    for (size_t i = 0; i < COUNT(starts); i++) {
        uint8_t scalar = starts[i], baseline = starts[i], best = starts[i];
        size_t run = smtp_data_skip_scalar(in, length, &scalar);
        if (smtp_data_skip_best(in, length, &best) != run || best != scalar)
            fail_msg("best differs: length %zu, start %d, scalar's run %zu", length, starts[i],
                     run);
        if (smtp_data_skip_baseline(in, length, &baseline) != run || baseline != scalar)
            fail_msg("baseline differs: length %zu, start %d, scalar's run %zu", length,
                     starts[i], run);
    }
}

/* Blocks are 64 bytes: three of them, so that each place in a block and each seam is met. */
static void test_fast_skip_stops_in_the_same_place(void **state)
{
    static const struct text odd[] = {
        TEXT("\r\n.\r\n"), TEXT("\r\n.\n"), TEXT("\n"),     TEXT("\r"),         TEXT("\0"),
        TEXT("\r\r\n"),    TEXT("\n.\r\n"), TEXT("\r\n.a"), TEXT("\r\n..\r\n"), TEXT(".\r\n"),
    };
    char block[256 + 64];
    (void)state;
    for (size_t i = 0; i < COUNT(odd); i++) {
        for (size_t at = 0; at < 3 * 64; at++) {
            memset(block, 'a', sizeof block);
            memcpy(block + at, odd[i].bytes, odd[i].length);
            check_skips(block, 3 * 64 + 8);
            check_skips(block, at + odd[i].length);
            check_skips(block + 1, 3 * 64);
        }
    }
}

/* A fixed sequence: a failure comes again. */
static uint32_t next_random(void)
{
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static size_t append(char *block, size_t at, size_t size, struct text text)
{
    size_t room = size - at, length = text.length < room ? text.length : room;
    memcpy(block + at, text.bytes, length);
    return at + length;
}

/* Lines of the kinds that are met, seldom broken by what is not ordinary. */
static void fill_with_lines(char *block, size_t size)
{
    static const struct text ordinary[] = {
        TEXT("\r\n"),     TEXT("a\r\n"),
        TEXT("..\r\n"),   TEXT(".a\r\n"),
        TEXT("a.\r\n"),   TEXT("...\r\n"),
        TEXT("a"),        TEXT("\xff.\x80"),
        TEXT("\r\n\r\n"), TEXT("a line of text that is somewhat longer\r\n"),
    };
    static const struct text odd[] = {TEXT("\r"), TEXT("\n"), TEXT("\0"), TEXT("\r\n.\r\n")};
    uint32_t seldom = 4 + next_random() % 200;
    size_t at = 0;
    while (at < size) {
        bool ordinarily = next_random() % seldom != 0;
        at = append(block, at, size,
                    ordinarily ? ordinary[next_random() % COUNT(ordinary)]
                               : odd[next_random() % COUNT(odd)]);
    }
}

/* Each length at each alignment, as an allocation that ends where the block does. */
static void test_fast_skip_agrees_on_random_blocks(void **state)
{
    (void)state;
    for (size_t round = 0; round < 20000; round++) {
        size_t alignment = round % 64, length = 1 + next_random() % 600;
        char *block = aligned_alloc(64, 704);
        assert_non_null(block);
        fill_with_lines(block + alignment, length);
        check_skips(block + alignment, length);
        free(block);

        char *exact = malloc(length);
        assert_non_null(exact);
        fill_with_lines(exact, length);
        check_skips(exact, length);
        free(exact);
    }
}

static void test_long_messages_in_random_pieces(void **state)
{
    enum { SIZE = 3000 };
    static char in[SIZE], expected_out[SIZE * MESSAGE_GROWTH], out[SIZE * MESSAGE_GROWTH];
    (void)state;
    for (size_t round = 0; round < 2000; round++) {
        struct message_result expected = {.out = expected_out}, result = {.out = out};
        struct smtp_data data = SMTP_DATA_START;
        fill_with_lines(in, SIZE);
        in[SIZE - 1] = 'a';
        message_model(in, SIZE, &expected);
        for (size_t at = 0, piece = 0; at < SIZE && !result.ended; at += piece) {
            piece = 1 + next_random() % (round % 2 ? 9 : 900);
            piece = piece < SIZE - at ? piece : SIZE - at;
            assert_true(message_scan(&data, in + at, piece, &result));
        }
        assert_int_equal(result.ended, expected.ended);
        assert_int_equal(result.consumed, expected.consumed);
        assert_int_equal(result.length, expected.length);
        assert_memory_equal(out, expected_out, result.length);
        assert_null(message_danger(&result));
    }
}

/* For the log: what a client may take for the end of its message, in pieces of any size. */
static void test_false_end_is_known(void **state)
{
    static const struct {
        struct text in;
        bool seems_ended;
    } tails[] = {
        {TEXT("a\n.\n"), true},      {TEXT("a\r\n.\n"), true},   {TEXT("a\n.\r\n"), true},
        {TEXT(".\n"), true},         {TEXT("a\r\n."), true},     {TEXT("a\r\n.\r"), true},
        {TEXT("a\n."), true},        {TEXT("a\n.\r"), true},     {TEXT("a\n\n.\n"), true},
        {TEXT("a\r\n"), false},      {TEXT("a\n"), false},       {TEXT("a"), false},
        {TEXT("a.\n"), false},       {TEXT("a\n..\n"), false},   {TEXT("a\n.\nb"), false},
        {TEXT("a\n.\n\n"), false},   {TEXT("a\n.\r\nb"), false}, {TEXT("a\n.\r\n\r\n"), false},
        {TEXT("a\n.\r\n\r"), false}, {TEXT("a\n.b\n"), false},   {TEXT("a\n. \n"), false},
        {TEXT("a\n.\0\n"), false},   {TEXT("a\r.\r"), false},    {TEXT("a\n.\rb"), false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(tails); i++) {
        for (size_t piece = 1; piece <= tails[i].in.length; piece++) {
            struct smtp_data data = SMTP_DATA_START;
            size_t taken = 0;
            while (taken < tails[i].in.length) {
                size_t end = taken / piece * piece + piece;
                struct smtp_data_step step;
                end = end < tails[i].in.length ? end : tails[i].in.length;
                smtp_data_step(&data, tails[i].in.bytes + taken, end - taken, &step);
                taken += step.consumed;
            }
            if (smtp_data_seems_ended(&data) != tails[i].seems_ended)
                fail_msg("case %zu in pieces of %zu", i, piece);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_false_end_is_known),
        cmocka_unit_test(test_each_message_arrives_as_it_should),
        cmocka_unit_test(test_repairs_are_counted),
        cmocka_unit_test(test_every_short_message_cut_up_in_every_way),
        cmocka_unit_test(test_fast_skip_stops_in_the_same_place),
        cmocka_unit_test(test_fast_skip_agrees_on_random_blocks),
        cmocka_unit_test(test_long_messages_in_random_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
