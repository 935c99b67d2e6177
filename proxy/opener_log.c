/* Reads one pipe for each backend. A line is cut at LINE_LIMIT; control characters are escaped
 * by the log as everywhere. */
#include "proxy/opener_log.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/log.h"

#define LINE_LIMIT 1000

struct opener_log {
    const char *name;
    int reading, writing;
    struct event readable;
    size_t length;
    char line[LINE_LIMIT];
};

static void write_record(const struct opener_log *log, size_t length)
{
    struct log_record record;
    if (length > 0 && log->line[length - 1] == '\r')
        length--;
    if (length == 0)
        return;
    log_begin(&record, LOG_LEVEL_WARNING, "backend's program says");
    log_text(&record, "backend", log->name);
    log_bytes(&record, "text", log->line, length);
    log_end(&record);
}

static void write_lines(struct opener_log *log)
{
    const char *end;
    while ((end = memchr(log->line, '\n', log->length))) {
        size_t length = (size_t)(end - log->line);
        write_record(log, length);
        log->length -= length + 1;
        memmove(log->line, end + 1, log->length);
    }
    if (log->length == sizeof log->line) {
        write_record(log, log->length);
        log->length = 0;
    }
}

static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    struct opener_log *log = argument;
    ssize_t got = read(fd, log->line + log->length, sizeof log->line - log->length);
    if (got > 0) {
        log->length += (size_t)got;
        write_lines(log);
    }
}

/* Only the reading end does not wait: how a program writes is its own affair. */
struct opener_log *opener_log_new(struct event_base *base, const char *name)
{
    int ends[2] = {-1, -1};
    struct opener_log *log = calloc(1, sizeof *log);
    if (!log || pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
        log_error("backend \"%s\": no pipe for its log: %s", name, strerrordesc_np(errno));
        if (ends[0] >= 0) {
            close(ends[0]);
            close(ends[1]);
        }
        free(log);
        return NULL;
    }
    log->name = name;
    log->reading = ends[0];
    log->writing = ends[1];
    event_assign(&log->readable, base, log->reading, EV_READ | EV_PERSIST, on_readable, log);
    event_add(&log->readable, NULL);
    return log;
}

int opener_log_descriptor(const struct opener_log *log)
{
    return log->writing;
}

void opener_log_free(struct opener_log *log)
{
    if (!log)
        return;
    on_readable(log->reading, 0, log);
    write_record(log, log->length);
    event_del(&log->readable);
    close(log->reading);
    close(log->writing);
    free(log);
}
