/* The statistics as a page in Prometheus' text format, version 0.0.4. */
#ifndef POSTERN_METRICS_H
#define POSTERN_METRICS_H

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "proxy/statistics.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_certificate {
    const char *file;
    int64_t not_after; /* seconds since 1970; 0: not known, and not shown */
    bool usable;
};

/* What is shown and not counted. */
struct metrics_facts {
    bool accepting;
    int64_t began; /* seconds since 1970 */
    const struct metrics_certificate *certificates;
    size_t certificate_count;
};

/* Appends the page. False: no memory. */
MUST_USE bool metrics_write(struct evbuffer *out, const struct statistics *sum,
                            const struct metrics_facts *facts);

#endif
