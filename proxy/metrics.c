/*
 * Writes the table of statistics.c as text for Prometheus. Called by the administration
 * interface. The words of labels are the table's own, or come from the configuration; nothing
 * that a client says is in them.
 */
#include "proxy/metrics.h"

#include <event2/event.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/escape.h"

/* The labels of a sample: `name="word",…` */
#define LABELS_SIZE 1024
/* A word, escaped. */
#define WORD_SIZE 300

struct page {
    struct evbuffer *out;
    bool failed;
};

PRINTF_LIKE(2, 3)
static void put(struct page *page, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    page->failed |= evbuffer_add_vprintf(page->out, format, arguments) < 0;
    va_end(arguments);
}

/* Backslash, quote and line feed have escapes; what else could disturb becomes a "?". Returns
 * how much of the word that is, which is all of it unless it is a path. */
static size_t escape_word(const char *word, char out[static WORD_SIZE])
{
    char clean[WORD_SIZE / 2];
    size_t length = 0, written = 0;
    size_t taken = escape(ESCAPE_MASK, word, strlen(word), clean, sizeof clean - 1, &length);
    for (size_t i = 0; i < length; i++) {
        if (clean[i] == '\\' || clean[i] == '"')
            out[written++] = '\\';
        out[written++] = clean[i];
    }
    out[written] = '\0';
    return taken;
}

static void add_label(char labels[static LABELS_SIZE], const char *name, const char *word)
{
    char escaped[WORD_SIZE];
    size_t length = strlen(labels);
    (void)escape_word(word, escaped);
    snprintf(labels + length, LABELS_SIZE - length, "%s%s=\"%s\"", length > 0 ? "," : "", name,
             escaped);
}

static void put_name(struct page *page, const char *name, const char *suffix,
                     const char *labels)
{
    put(page, *labels ? "%s%s{%s} " : "%s%s%s ", name, suffix, labels);
}

static void put_sample(struct page *page, const char *name, const char *labels, uint64_t value)
{
    put_name(page, name, "", labels);
    put(page, "%" PRIu64 "\n", value);
}

static void put_bucket(struct page *page, const char *name, const char *labels,
                       const char *bound, uint64_t count)
{
    char with_bound[LABELS_SIZE];
    snprintf(with_bound, sizeof with_bound, "%s", labels);
    add_label(with_bound, "le", bound);
    put_name(page, name, "_bucket", with_bound);
    put(page, "%" PRIu64 "\n", count);
}

static void put_histogram(struct page *page, const char *name, const char *labels,
                          const struct statistics_histogram *histogram)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < STATISTICS_BUCKETS; i++) {
        char bound[16] = "+Inf";
        count += histogram->buckets[i];
        if (i < STATISTICS_BUCKETS - 1)
            snprintf(bound, sizeof bound, "%g", statistics_bounds_ms[i] / 1000.0);
        put_bucket(page, name, labels, bound, count);
    }
    put_name(page, name, "_sum", labels);
    put(page, "%" PRIu64 ".%03u\n", histogram->sum_ms / 1000,
        (unsigned)(histogram->sum_ms % 1000));
    put_name(page, name, "_count", labels);
    put(page, "%" PRIu64 "\n", count);
}

static bool is_zero(const void *cell, size_t size)
{
    static const char zero[sizeof(struct statistics_histogram)];
    return memcmp(cell, zero, size) == 0;
}

/* False: a place that nobody has. */
static bool write_labels(const struct statistics_row *row, size_t index,
                         char labels[static LABELS_SIZE])
{
    unsigned places[STATISTICS_LABELS] = {0};
    labels[0] = '\0';
    for (unsigned i = STATISTICS_LABELS; i-- > 0;) {
        if (!row->labels[i].name)
            continue;
        places[i] = (unsigned)(index % row->labels[i].count);
        index /= row->labels[i].count;
    }
    for (unsigned i = 0; i < STATISTICS_LABELS && row->labels[i].name; i++) {
        const char *word = row->labels[i].word(places[i]);
        if (!word)
            return false;
        add_label(labels, row->labels[i].name, word);
    }
    return true;
}

static void put_cells(struct page *page, const struct statistics *sum,
                      const struct statistics_row *row)
{
    bool is_histogram = row->type == STATISTICS_HISTOGRAM;
    size_t size = is_histogram ? sizeof(struct statistics_histogram) : sizeof(uint64_t);
    const char *cells = (const char *)sum + row->offset;
    for (size_t i = 0; i < row->size / size; i++) {
        char labels[LABELS_SIZE];
        const void *cell = cells + i * size;
        if ((row->is_sparse && is_zero(cell, size)) || !write_labels(row, i, labels))
            continue;
        if (is_histogram)
            put_histogram(page, row->name, labels, cell);
        else
            put_sample(page, row->name, labels, *(const uint64_t *)cell);
    }
}

static void put_certificate(struct page *page, const struct statistics_row *row,
                            const char *file, int64_t value)
{
    char piece[WORD_SIZE];
    put(page, "%s{%s=\"", row->name, row->labels[0].name);
    while (*file) {
        file += escape_word(file, piece);
        put(page, "%s", piece);
    }
    put(page, "\"} %" PRId64 "\n", value);
}

static void put_ends(struct page *page, const struct statistics_row *row,
                     const struct metrics_facts *facts)
{
    for (size_t i = 0; i < facts->certificate_count; i++)
        if (facts->certificates[i].not_after)
            put_certificate(page, row, facts->certificates[i].file,
                            facts->certificates[i].not_after);
}

static void put_usable(struct page *page, const struct statistics_row *row,
                       const struct metrics_facts *facts)
{
    for (size_t i = 0; i < facts->certificate_count; i++)
        put_certificate(page, row, facts->certificates[i].file, facts->certificates[i].usable);
}

static void put_build(struct page *page, const struct statistics_row *row,
                      const struct metrics_facts *facts)
{
    char labels[LABELS_SIZE] = "";
    (void)facts;
    add_label(labels, row->labels[0].name, POSTERN_VERSION);
    add_label(labels, row->labels[1].name, OpenSSL_version(OPENSSL_VERSION_STRING));
    add_label(labels, row->labels[2].name, event_get_version());
    put_sample(page, row->name, labels, 1);
}

static void put_accepting(struct page *page, const struct statistics_row *row,
                          const struct metrics_facts *facts)
{
    put_sample(page, row->name, "", facts->accepting);
}

static void put_began(struct page *page, const struct statistics_row *row,
                      const struct metrics_facts *facts)
{
    put_sample(page, row->name, "", (uint64_t)facts->began);
}

/* The rows without cells. */
static const struct {
    const char *name;
    void (*put)(struct page *page, const struct statistics_row *row,
                const struct metrics_facts *facts);
} uncounted[] = {
    {"postern_certificate_not_after_timestamp_seconds", put_ends},
    {"postern_certificate_usable", put_usable},
    {"postern_build_info", put_build},
    {"postern_accepting", put_accepting},
    {"process_start_time_seconds", put_began},
};

static void put_uncounted(struct page *page, const struct statistics_row *row,
                          const struct metrics_facts *facts)
{
    for (size_t i = 0; i < sizeof uncounted / sizeof uncounted[0]; i++)
        if (strcmp(uncounted[i].name, row->name) == 0)
            uncounted[i].put(page, row, facts);
}

bool metrics_write(struct evbuffer *out, const struct statistics *sum,
                   const struct metrics_facts *facts)
{
    static const char *const types[] = {[STATISTICS_COUNTER] = "counter",
                                        [STATISTICS_GAUGE] = "gauge",
                                        [STATISTICS_HISTOGRAM] = "histogram"};
    struct page page = {.out = out};
    size_t count;
    const struct statistics_row *rows = statistics_rows(&count);
    for (size_t i = 0; i < count; i++) {
        put(&page, "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help, rows[i].name,
            types[rows[i].type]);
        if (rows[i].size > 0)
            put_cells(&page, sum, &rows[i]);
        else
            put_uncounted(&page, &rows[i], facts);
    }
    return !page.failed;
}
