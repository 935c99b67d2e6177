/*
 * The log: builds each record in one fixed block of memory, which log_send.c hands over.
 * Everybody calls it. Never allocates, never waits, and never writes a byte of a value that has
 * not been through escape().
 */
#include "proxy/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/escape.h"
#include "proxy/base/log_output.h"
#include "proxy/base/log_send.h"

#define PROGRAM "postern"

/* Kept free behind the fields: the longest of `, "cut":true}` and its kin, and the line end. */
#define TAIL_SIZE 16
/* One field's value, so that a long one does not crowd out those behind it. */
#define VALUE_LIMIT 1024

static const char *process_name;
static log_tap *tap;        /* NULL: nobody else listens */
static const char *subject; /* of messages, or NULL */
static void *tap_context;
static bool shows_errors;    /* on standard error, too */
static log_watcher *watcher; /* NULL: nobody watches */
static void *watcher_context;

/* What the watcher gets of the record that is being built; one at a time. */
static struct {
    const struct log_record *of; /* NULL: of none */
    struct log_record record;
    const char *name;
    char user[256], client[64];
} watched;

void log_set_process(const char *name)
{
    process_name = name;
}

void log_set_tap(log_tap *new_tap, void *context)
{
    tap = new_tap;
    tap_context = context;
}

void log_show_errors(bool on)
{
    shows_errors = on;
}

/* Appends bytes that need no escaping, all or nothing, leaving `reserve` bytes for more. */
static bool put(struct log_record *record, const char *bytes, size_t length, size_t reserve)
{
    if (length + reserve + TAIL_SIZE > sizeof record->line - record->length) {
        record->cut = true;
        return false;
    }
    memcpy(record->line + record->length, bytes, length);
    record->length += length;
    return true;
}

static void put_escaped(struct log_record *record, enum escape_style style, const char *value,
                        size_t length, size_t limit)
{
    size_t written = 0, room = sizeof record->line - record->length - TAIL_SIZE - 1;
    if (escape(style, value, length, record->line + record->length, room < limit ? room : limit,
               &written) < length)
        record->cut = true;
    record->length += written;
}

/* Writes ` key=` or `,"key":`. False: there is no room for it and at least an empty value. */
static bool put_key(struct log_record *record, const char *key)
{
    static const struct {
        const char *separator, *open, *close;
    } styles[] = {{" ", "", "="}, {",", "\"", "\":"}};
    bool json = record->json, first = record->length == json;
    char text[64], *end = text;
    if (strlen(key) > sizeof text - 5)
        return false;
    end = stpcpy(end, first ? "" : styles[json].separator);
    end = stpcpy(stpcpy(end, styles[json].open), key);
    end = stpcpy(end, styles[json].close);
    return put(record, text, (size_t)(end - text), 3);
}

static void put_value(struct log_record *record, const char *value, size_t length, size_t limit)
{
    enum escape_style style = record->json ? ESCAPE_JSON : ESCAPE_LOGFMT;
    if (!record->json && length <= limit && escape_is_word(value, length) &&
        put(record, value, length, 0))
        return;
    put(record, "\"", 1, 1);
    put_escaped(record, style, value, length, limit);
    put(record, "\"", 1, 0);
}

static void put_field(struct log_record *record, const char *key, const char *value,
                      size_t length, size_t limit)
{
    if (put_key(record, key))
        put_value(record, value, length, limit);
}

/* Closes the line; put() has kept TAIL_SIZE bytes free for this. */
static size_t end_line(struct log_record *record)
{
    static const char *const tails[2][2] = {{"\n", " cut=true\n"}, {"}\n", ",\"cut\":true}\n"}};
    const char *tail = tails[record->json][record->cut];
    memcpy(record->line + record->length, tail, strlen(tail));
    record->length += strlen(tail);
    return record->length;
}

/* "postern: error: text", for a terminal. */
static void begin_plain(struct log_record *record, const char *text)
{
    char prefix[32];
    int length =
        snprintf(prefix, sizeof prefix, PROGRAM ": %s: ", log_level_name(record->level));
    put(record, prefix, (size_t)length, 0);
    put_escaped(record, ESCAPE_PROSE, text, strlen(text), LOG_LINE_LIMIT);
}

/* A person sees it: if that is not possible, the log has it all the same. */
static void show(enum log_level level, const char *text)
{
    struct log_record record = {.level = level};
    if (!shows_errors || level != LOG_LEVEL_ERROR ||
        log_options()->destination == LOG_TO_STDERR)
        return;
    begin_plain(&record, text);
    record.line[record.length++] = '\n';
    bool shown = log_output_write(STDERR_FILENO, record.line, record.length);
    (void)shown;
}

static void put_time_and_level(struct log_record *record)
{
    char now[CLOCK_TEXT_SIZE];
    clock_text(now);
    log_text(record, "time", now);
    log_text(record, "level", log_level_name(record->level));
}

static void put_origin(struct log_record *record)
{
    bool own_line = log_options()->destination != LOG_TO_SYSLOG;
    if (own_line)
        put_time_and_level(record);
    /* Through a relay, syslog would name the process that passes it on. */
    if (own_line || log_is_relayed())
        log_number(record, "pid", (uint64_t)log_process());
    log_text(record, "process", process_name);
}

/* Starts a record of any level with its first field: an event or a message. */
static void begin_always(struct log_record *record, enum log_level level, const char *key,
                         const char *text)
{
    record->level = level;
    record->wanted = true;
    record->watched = false;
    record->json = log_options()->format == LOG_FORMAT_JSON;
    record->cut = false;
    record->length = 0;
    if (log_options()->format == LOG_FORMAT_PLAIN) {
        begin_plain(record, text);
        return;
    }
    if (record->json)
        put(record, "{", 1, 0);
    put_origin(record);
    put_field(record, key, text, strlen(text), LOG_LINE_LIMIT);
}

static void begin(struct log_record *record, enum log_level level, const char *key,
                  const char *text)
{
    record->wanted = level <= log_options()->level;
    record->watched = record->cut = false;
    if (record->wanted)
        begin_always(record, level, key, text);
}

void log_set_watcher(log_watcher *new_watcher, void *context)
{
    watcher = new_watcher;
    watcher_context = context;
    watched.of = NULL;
}

bool log_is_watched(void)
{
    return watcher;
}

/* The same record once more, as JSON with all that a line of its own has. */
static void begin_watched(struct log_record *record, const char *event)
{
    struct log_record *copy = &watched.record;
    watched.of = record;
    watched.name = event;
    watched.user[0] = watched.client[0] = '\0';
    record->watched = true;
    *copy = (struct log_record){.level = record->level, .wanted = true, .json = true};
    put(copy, "{", 1, 0);
    put_time_and_level(copy);
    log_number(copy, "pid", (uint64_t)log_process());
    log_text(copy, "process", process_name);
    log_text(copy, "event", event);
}

static void keep(char *out, size_t size, const char *value, size_t length)
{
    if (length >= size)
        length = size - 1;
    memcpy(out, value, length);
    out[length] = '\0';
}

static void watch_bytes(const struct log_record *record, const char *key, const char *value,
                        size_t length)
{
    if (watched.of != record)
        return;
    put_field(&watched.record, key, value, length, VALUE_LIMIT);
    if (strcmp(key, "user") == 0)
        keep(watched.user, sizeof watched.user, value, length);
    else if (strcmp(key, "client") == 0)
        keep(watched.client, sizeof watched.client, value, length);
}

static void end_watched(const struct log_record *record)
{
    if (watched.of != record)
        return;
    watched.of = NULL;
    size_t length = end_line(&watched.record) - 1; /* without the line end */
    const struct log_event event = {watched.name, watched.user, watched.client,
                                    watched.record.line, length};
    if (watcher)
        watcher(watcher_context, &event);
}

void log_begin_watched(struct log_record *record, enum log_level level, const char *event)
{
    begin(record, level, "event", event);
    record->level = level;
    if (watcher)
        begin_watched(record, event);
}

void log_begin(struct log_record *record, enum log_level level, const char *event)
{
    if (watcher && level <= LOG_LEVEL_INFO)
        log_begin_watched(record, level, event);
    else
        begin(record, level, "event", event);
}

void log_text(struct log_record *record, const char *key, const char *value)
{
    if (value)
        log_bytes(record, key, value, strlen(value));
}

void log_bytes(struct log_record *record, const char *key, const char *value, size_t length)
{
    if (record->wanted)
        put_field(record, key, value, length, VALUE_LIMIT);
    if (record->watched)
        watch_bytes(record, key, value, length);
}

static void put_number(struct log_record *record, const char *key, const char *digits,
                       size_t length)
{
    size_t before = record->length;
    if (put_key(record, key) && !put(record, digits, length, 0))
        record->length = before;
}

void log_number(struct log_record *record, const char *key, uint64_t value)
{
    char digits[24], *first = digits + sizeof digits;
    if (!record->wanted && !record->watched)
        return;
    do
        *--first = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    size_t length = (size_t)(digits + sizeof digits - first);
    if (record->wanted)
        put_number(record, key, first, length);
    if (record->watched && watched.of == record)
        put_number(&watched.record, key, first, length);
}

bool log_tell_lost(void)
{
    struct log_record record;
    uint64_t count = log_untold();
    if (count == 0 || log_options()->format == LOG_FORMAT_PLAIN)
        return true;
    begin_always(&record, LOG_LEVEL_WARNING, "event", "log records lost");
    log_number(&record, "count", count);
    size_t length = end_line(&record);
    if (!log_send_now(record.level, record.line, length))
        return false;
    log_has_told(count);
    return true;
}

void log_end(struct log_record *record)
{
    if (record->watched)
        end_watched(record);
    if (!record->wanted)
        return;
    record->wanted = false;
    size_t length = end_line(record);
    log_send(record->level, record->line, length);
}

void log_end_soon(struct log_record *record)
{
    if (record->watched)
        end_watched(record);
    if (!record->wanted)
        return;
    record->wanted = false;
    size_t length = end_line(record);
    log_send_soon(record->level, record->line, length);
}

void log_set_subject(const char *name)
{
    subject = name;
}

PRINTF_LIKE(2, 0)
static void log_message(enum log_level level, const char *format, va_list arguments)
{
    struct log_record record;
    char text[LOG_LINE_LIMIT];
    if (level > log_options()->level)
        return;
    int before = subject ? snprintf(text, sizeof text, "%.1000s: ", subject) : 0;
    int length = vsnprintf(text + before, sizeof text - (size_t)before, format, arguments);
    if (length >= 0)
        length += before;
    begin(&record, level, "msg", length < 0 ? format : text);
    record.cut = record.cut || length >= (int)sizeof text;
    log_end(&record);
    show(level, length < 0 ? format : text);
    if (tap)
        tap(tap_context, level, length < 0 ? format : text);
}

#define DEFINE_MESSAGE_FUNCTION(name, level)                                                   \
    void name(const char *format, ...)                                                         \
    {                                                                                          \
        va_list arguments;                                                                     \
        va_start(arguments, format);                                                           \
        log_message(level, format, arguments);                                                 \
        va_end(arguments);                                                                     \
    }

DEFINE_MESSAGE_FUNCTION(log_error, LOG_LEVEL_ERROR)
DEFINE_MESSAGE_FUNCTION(log_warning, LOG_LEVEL_WARNING)
DEFINE_MESSAGE_FUNCTION(log_notice, LOG_LEVEL_NOTICE)
DEFINE_MESSAGE_FUNCTION(log_info, LOG_LEVEL_INFO)
DEFINE_MESSAGE_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
