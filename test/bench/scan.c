/*
 * How fast the message scanner is, without a network: GB/s for each kind of message, with the
 * scalar skip, the one that every machine has, and the best; and for the whole scanner, repairs
 * included. Run by the benchmark, or by hand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/smtp/data.h"

/* What the relay hands over at once, and stays in the cache as it does there. */
#define BLOCK_SIZE   (64u << 10)
#define RUN_SECONDS  0.2
#define ROUNDS       5
#define PER_CLOCK    64 /* blocks between two looks at the clock */
#define BYTES_PER_GB 1e9

struct message {
    const char *name, *line;
};

static const struct message messages[] = {
    {"text", "A line of seventy-two columns is what most programs make of written text\r\n"},
    {"long lines", NULL}, /* 998 columns, the longest that RFC 5321 allows */
    {"short lines", "a\r\n"},
    {"dots", "..\r\n"},
    {"dots and empty lines", "..\r\n\r\n"},
    {"bare LF", "A line of seventy-two columns is what most programs make of written text\n"},
    {"only bare LF", "\n"},
    {"only bare CR", "\r"},
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Whole lines, and text for what is left. */
static void fill(char *block, const struct message *message)
{
    static char longest[1001];
    memset(longest, 'a', 998);
    memcpy(longest + 998, "\r\n", 3);
    const char *line = message->line ? message->line : longest;
    size_t length = strlen(line), at = 0;
    for (; at + length <= BLOCK_SIZE; at += length)
        memcpy(block + at, line, length);
    memset(block + at, 'a', BLOCK_SIZE - at);
}

/* Each scans a block from a line's start, and returns how much of it was dealt with. */
typedef size_t scanner(const char *block);

static size_t scan_scalar(const char *block)
{
    uint8_t position = SMTP_DATA_LINE_START;
    return smtp_data_skip_scalar(block, BLOCK_SIZE, &position);
}

static size_t scan_baseline(const char *block)
{
    uint8_t position = SMTP_DATA_LINE_START;
    return smtp_data_skip_baseline(block, BLOCK_SIZE, &position);
}

static size_t scan_best(const char *block)
{
    uint8_t position = SMTP_DATA_LINE_START;
    return smtp_data_skip_best(block, BLOCK_SIZE, &position);
}

static size_t scan_whole(const char *block)
{
    struct smtp_data data = SMTP_DATA_START;
    size_t taken = 0;
    while (taken < BLOCK_SIZE) {
        struct smtp_data_step step;
        smtp_data_step(&data, block + taken, BLOCK_SIZE - taken, &step);
        taken += step.consumed;
    }
    return taken;
}

static double measure_once(scanner *scan, const char *block)
{
    double start = now(), elapsed = 0, bytes = 0;
    while (elapsed < RUN_SECONDS) {
        for (int i = 0; i < PER_CLOCK; i++) {
            __asm__ volatile("" : : "r"(block) : "memory"); /* the block may be another one */
            bytes += (double)scan(block);
        }
        elapsed = now() - start;
    }
    return bytes / elapsed / BYTES_PER_GB;
}

/* The best of some: whatever else the machine does only makes it slower. 0: stops at once. */
static double measure(scanner *scan, const char *block)
{
    double best = 0;
    if (scan(block) < BLOCK_SIZE)
        return 0;
    for (int i = 0; i < ROUNDS; i++) {
        double speed = measure_once(scan, block);
        best = speed > best ? speed : best;
    }
    return best;
}

int main(void)
{
    static scanner *const scans[] = {scan_scalar, scan_baseline, scan_best, scan_whole};
    char *block = malloc(BLOCK_SIZE);
    if (!block)
        return 1;
    printf("%-22s %8s %8s %8s %8s\n", "GB/s", "scalar", "baseline", "best", "scanner");
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        fill(block, &messages[i]);
        printf("%-22s", messages[i].name);
        for (size_t j = 0; j < sizeof scans / sizeof *scans; j++) {
            double speed = measure(scans[j], block);
            if (speed > 0)
                printf(" %8.2f", speed);
            else
                printf(" %8s", "-");
        }
        printf("\n");
    }
    free(block);
    return 0;
}
