/*
 * The log: builds each record in one fixed block of memory and hands it over with one system
 * call. Everybody calls it. Never allocates, never waits, and never writes a byte of a value
 * that has not been through escape().
 */
#include "proxy/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/escape.h"
#include "proxy/base/log_journal.h"
#include "proxy/base/log_output.h"
#include "proxy/base/log_syslog.h"

#define PROGRAM "postern"

/* Kept free behind the fields: the longest of `, "cut":true}` and its kin, and the line end. */
#define TAIL_SIZE 16
/* One field's value, so that a long one does not crowd out those behind it. */
#define VALUE_LIMIT 1024

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},      [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
    [LOG_LEVEL_NOTICE] = {"notice", LOG_NOTICE}, [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

static struct log_options options = {LOG_TO_STDERR, LOG_FORMAT_PLAIN, LOG_LEVEL_INFO};
static const char *process_name;
static int relay = -1;
static int output = STDERR_FILENO;
static int file = -1;            /* for LOG_TO_FILE */
static int children_output = -1; /* the same of those that are forked */
static uint64_t lost;
static uint64_t untold;      /* of these, what no line has told yet */
static uint64_t *lost_count; /* where others see it; NULL: nobody does */
static log_tap *tap;         /* NULL: nobody else listens */
static const char *subject;  /* of messages, or NULL */
static void *tap_context;
static bool shows_errors; /* on standard error, too */

void log_configure(const struct log_options *wanted)
{
    options = *wanted;
    log_output_take_stderr();
    output = options.destination == LOG_TO_FILE && file >= 0 ? file : STDERR_FILENO;
}

void log_set_file(int fd)
{
    file = fd;
    log_configure(&options);
}

void log_set_children_output(int fd)
{
    children_output = fd;
}

void log_become_child(void)
{
    struct log_options own = options;
    log_set_tap(NULL, NULL);
    untold = 0;
    bool is_master_s =
        options.destination == LOG_TO_FILE || options.destination == LOG_TO_JOURNAL;
    if (!is_master_s || children_output < 0 || dup2(children_output, STDERR_FILENO) < 0)
        return;
    own.destination = LOG_TO_STDERR;
    log_configure(&own);
}

const struct log_options *log_options(void)
{
    return &options;
}

void log_set_process(const char *name)
{
    process_name = name;
}

void log_use_relay(int fd)
{
    relay = fd;
}

void log_set_level(enum log_level level)
{
    options.level = level;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
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

uint64_t log_lost(void)
{
    return lost;
}

void log_count_lost_in(uint64_t *count)
{
    lost_count = count;
}

/* Libraries may have threads. */
void log_count_lost(void)
{
    __atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&untold, 1, __ATOMIC_RELAXED);
    if (lost_count)
        __atomic_fetch_add(lost_count, 1, __ATOMIC_RELAXED);
}

static bool is_json(void)
{
    return options.format == LOG_FORMAT_JSON;
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
    bool json = is_json(), first = record->length == json;
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
    enum escape_style style = is_json() ? ESCAPE_JSON : ESCAPE_LOGFMT;
    if (!is_json() && length <= limit && escape_is_word(value, length) &&
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

/* "postern: error: text", for a terminal. */
static void begin_plain(struct log_record *record, const char *text)
{
    char prefix[32];
    int length = snprintf(prefix, sizeof prefix, PROGRAM ": %s: ", levels[record->level].name);
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

static void put_origin(struct log_record *record)
{
    bool own_line = options.destination != LOG_TO_SYSLOG;
    if (own_line) {
        char now[CLOCK_TEXT_SIZE];
        clock_text(now);
        log_text(record, "time", now);
        log_text(record, "level", levels[record->level].name);
    }
    /* Through a relay, syslog would name the process that passes it on. */
    if (own_line || relay >= 0)
        log_number(record, "pid", (uint64_t)getpid());
    log_text(record, "process", process_name);
}

/* Starts a record of any level with its first field: an event or a message. */
static void begin_always(struct log_record *record, enum log_level level, const char *key,
                         const char *text)
{
    record->level = level;
    record->wanted = true;
    record->cut = false;
    record->length = 0;
    if (options.format == LOG_FORMAT_PLAIN) {
        begin_plain(record, text);
        return;
    }
    if (is_json())
        put(record, "{", 1, 0);
    put_origin(record);
    put_field(record, key, text, strlen(text), LOG_LINE_LIMIT);
}

static void begin(struct log_record *record, enum log_level level, const char *key,
                  const char *text)
{
    record->wanted = level <= options.level;
    if (record->wanted)
        begin_always(record, level, key, text);
}

void log_begin(struct log_record *record, enum log_level level, const char *event)
{
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
}

void log_number(struct log_record *record, const char *key, uint64_t value)
{
    char digits[24], *first = digits + sizeof digits;
    if (!record->wanted)
        return;
    do
        *--first = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    size_t before = record->length;
    if (put_key(record, key) &&
        !put(record, first, (size_t)(digits + sizeof digits - first), 0))
        record->length = before;
}

/* Closes the line; put() has kept TAIL_SIZE bytes free for this. */
static size_t end_line(struct log_record *record)
{
    static const char *const tails[2][2] = {{"\n", " cut=true\n"}, {"}\n", ",\"cut\":true}\n"}};
    const char *tail = tails[is_json()][record->cut];
    memcpy(record->line + record->length, tail, strlen(tail));
    record->length += strlen(tail);
    return record->length;
}

static bool send_to_relay(enum log_level level, const char *text, size_t length)
{
    char level_byte = (char)level;
    struct iovec parts[] = {{&level_byte, 1}, {(void *)(uintptr_t)text, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return sendmsg(relay, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length + 1;
}

/* What the journal has no room for is lost; without a journal, standard error gets the line. */
static bool give_to_journal(const char *line, size_t length)
{
    if (log_journal_send(line, length))
        return true;
    return errno != EAGAIN && errno != EMSGSIZE && log_output_write(output, line, length);
}

/* A line with its line end leaves this process. False: it is lost. */
static bool hand_over(enum log_level level, const char *line, size_t length)
{
    if (options.destination == LOG_TO_JOURNAL)
        return give_to_journal(line, length);
    if (options.destination != LOG_TO_SYSLOG)
        return log_output_write(output, line, length);
    if (relay >= 0)
        return send_to_relay(level, line, length - 1);
    return log_syslog_send(LOG_MAIL | levels[level].priority, PROGRAM, true, line, length - 1);
}

bool log_tell_lost(void)
{
    struct log_record record;
    uint64_t count = untold;
    if (count == 0 || options.format == LOG_FORMAT_PLAIN)
        return true;
    begin_always(&record, LOG_LEVEL_WARNING, "event", "log records lost");
    log_number(&record, "count", count);
    size_t length = end_line(&record);
    if (!hand_over(record.level, record.line, length))
        return false;
    __atomic_fetch_sub(&untold, count, __ATOMIC_RELAXED);
    return true;
}

static void give(enum log_level level, const char *line, size_t length)
{
    if (!log_tell_lost() || !hand_over(level, line, length))
        log_count_lost();
}

void log_end(struct log_record *record)
{
    if (!record->wanted)
        return;
    record->wanted = false;
    size_t length = end_line(record);
    give(record->level, record->line, length);
}

/* The text of another process as one harmless line. */
static void pass_line_on(enum log_level level, const char *text, size_t length)
{
    char line[LOG_LINE_LIMIT + 1];
    size_t written = 0;
    escape(ESCAPE_MASK, text, length, line, sizeof line - 1, &written);
    line[written++] = '\n';
    give(level, line, written);
}

void log_pass_on(const char *datagram, size_t length)
{
    if (length < 2)
        return;
    unsigned level = (unsigned char)datagram[0];
    bool is_line = level >= ' ' && level <= '~'; /* for a file, before the last reload */
    if (level > LOG_LEVEL_DEBUG)
        level = is_line ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING;
    pass_line_on((enum log_level)level, datagram + !is_line, length - !is_line);
}

void log_pass_lines_on(const char *datagram, size_t length)
{
    if (length > 0 && (unsigned char)*datagram <= LOG_LEVEL_DEBUG) {
        datagram++; /* a record that was to go to syslog, before the last reload */
        length--;
    }
    while (length > 0) {
        const char *end = memchr(datagram, '\n', length);
        size_t line = end ? (size_t)(end - datagram) : length;
        if (line > 0)
            pass_line_on(LOG_LEVEL_NOTICE, datagram, line);
        line += end != NULL;
        datagram += line;
        length -= line;
    }
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
    if (level > options.level)
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
