/*
 * How lines of the log leave this process: to a descriptor, to syslog, to the journal, or to
 * the process that does so for it; what cannot leave at once is counted. Called by log.c, and
 * by the master for lines of other processes. Owns the line that is held back, and no
 * descriptor.
 */
#include "proxy/base/log_send.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "proxy/base/escape.h"
#include "proxy/base/log_journal.h"
#include "proxy/base/log_output.h"
#include "proxy/base/log_syslog.h"

#define PROGRAM "postern"

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},      [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING},
    [LOG_LEVEL_NOTICE] = {"notice", LOG_NOTICE}, [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

static struct log_options options = {LOG_TO_STDERR, LOG_FORMAT_PLAIN, LOG_LEVEL_INFO};
static pid_t process; /* 0: not asked for yet */
static int relay = -1;
static int output = STDERR_FILENO;
static int file = -1;            /* for LOG_TO_FILE */
static int children_output = -1; /* the same of those that are forked */
static uint64_t lost;
static uint64_t untold;                /* of these, what no line has told yet */
static uint64_t *lost_count;           /* where others see it; NULL: nobody does */
static void (*on_held)(void *context); /* NULL: nothing is held back */
static void *held_context;

/* Lines that leave together with the next one. */
static struct {
    enum log_level level;
    unsigned count;
    size_t length;
    char lines[LOG_LINE_LIMIT];
} held;

/* In the level byte of a datagram: it is several lines, each of which ends with its line end.
 * Only records go so, as no value in them has a line end. */
#define SEVERAL 0x10u

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
    held.length = held.count = 0;
    process = 0;
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

pid_t log_process(void)
{
    if (process == 0)
        process = getpid();
    return process;
}

bool log_is_relayed(void)
{
    return relay >= 0;
}

bool log_wants(enum log_level level)
{
    return level <= options.level;
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

uint64_t log_untold(void)
{
    return __atomic_load_n(&untold, __ATOMIC_RELAXED);
}

void log_has_told(uint64_t count)
{
    __atomic_fetch_sub(&untold, count, __ATOMIC_RELAXED);
}

static bool send_to_relay(enum log_level level, const char *text, size_t length)
{
    bool several = memchr(text, '\n', length);
    char level_byte = (char)(level | (several ? SEVERAL : 0));
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

/* A line with its line end, or several, leave this process. False: they are lost. */
bool log_send_now(enum log_level level, const char *line, size_t length)
{
    if (options.destination == LOG_TO_JOURNAL)
        return give_to_journal(line, length);
    if (options.destination != LOG_TO_SYSLOG)
        return log_output_write(output, line, length);
    if (relay >= 0)
        return send_to_relay(level, line, length - 1);
    return log_syslog_send(LOG_MAIL | levels[level].priority, PROGRAM, true, line, length - 1);
}

static void give_lines(enum log_level level, const char *lines, size_t length, unsigned count)
{
    if (log_tell_lost() && log_send_now(level, lines, length))
        return;
    while (count-- > 0)
        log_count_lost();
}

void log_flush(void)
{
    size_t length = held.length;
    held.length = 0;
    if (length > 0)
        give_lines(held.level, held.lines, length, held.count);
    held.count = 0;
}

/* False: there is no room. Lines of two levels never leave together. */
static bool hold(enum log_level level, const char *line, size_t length)
{
    if (length > sizeof held.lines - held.length || (held.length > 0 && level != held.level))
        return false;
    memcpy(held.lines + held.length, line, length);
    held.length += length;
    held.level = level;
    held.count++;
    return true;
}

/* What is held back leaves first, or in the same write. */
void log_send(enum log_level level, const char *line, size_t length)
{
    if (held.length > 0 && hold(level, line, length)) {
        log_flush();
        return;
    }
    log_flush();
    give_lines(level, line, length, 1);
}

void log_on_held(void (*callback)(void *context), void *context)
{
    log_flush();
    on_held = callback;
    held_context = context;
}

/* A process that writes to the journal or to syslog itself sends each line alone. */
static bool can_hold(void)
{
    return on_held && options.destination != LOG_TO_JOURNAL &&
           (options.destination != LOG_TO_SYSLOG || relay >= 0);
}

void log_send_soon(enum log_level level, const char *line, size_t length)
{
    if (!can_hold()) {
        log_send(level, line, length);
        return;
    }
    if (!hold(level, line, length)) {
        log_flush();
        (void)hold(level, line, length);
    }
    on_held(held_context);
}

/* The text of another process as one harmless line. */
static void pass_line_on(enum log_level level, const char *text, size_t length)
{
    char line[LOG_LINE_LIMIT + 1];
    size_t written = 0;
    escape(ESCAPE_MASK, text, length, line, sizeof line - 1, &written);
    line[written++] = '\n';
    log_send(level, line, written);
}

static void pass_lines_on(enum log_level level, const char *lines, size_t length)
{
    while (length > 0) {
        const char *end = memchr(lines, '\n', length);
        size_t line = end ? (size_t)(end - lines) : length;
        if (line > 0)
            pass_line_on(level, lines, line);
        line += end != NULL;
        lines += line;
        length -= line;
    }
}

void log_pass_on(const char *datagram, size_t length)
{
    if (length < 2)
        return;
    unsigned level = (unsigned char)datagram[0];
    if (level & SEVERAL && (level & ~SEVERAL) <= LOG_LEVEL_DEBUG) {
        pass_lines_on((enum log_level)(level & ~SEVERAL), datagram + 1, length - 1);
        return;
    }
    bool is_line = level >= ' ' && level <= '~'; /* for a file, before the last reload */
    if (level > LOG_LEVEL_DEBUG)
        level = is_line ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING;
    pass_line_on((enum log_level)level, datagram + !is_line, length - !is_line);
}

void log_pass_lines_on(const char *datagram, size_t length)
{
    if (length > 0 && ((unsigned char)*datagram & ~SEVERAL) <= LOG_LEVEL_DEBUG) {
        datagram++; /* records that were to go to syslog, before the last reload */
        length--;
    }
    pass_lines_on(LOG_LEVEL_NOTICE, datagram, length);
}
