/*
 * The log: one record, one line, and for one or a few lines one write.
 *
 * A record is a level, an event (a short fixed phrase, "session ended") and
 * fields. Every value is escaped, so that what a client or a backend says
 * stays inside its own field of its own line. Never give it a password.
 *
 * Before log_configure() the form is "postern: error: text" on standard
 * error, for people at a terminal. After it a line is logfmt
 *     time=2026-11-23T14:05:09.123Z level=info pid=81 event="session ended" id=… client=…
 * or the same as a JSON object. Towards syslog(3) (facility mail) there is no
 * time, level or pid, as syslog adds its own; behind a relay the pid stays.
 *
 * One thread. No record is waited for: what cannot be written at once is lost
 * and counted, and the first line that can be written after it is
 *     … level=warning … event="log records lost" count=12
 * for what this process has lost. The program ignores SIGPIPE.
 */
#ifndef POSTERN_BASE_LOG_H
#define POSTERN_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

enum log_level {
    LOG_LEVEL_ERROR,   /* somebody must act */
    LOG_LEVEL_WARNING, /* something is wrong, and it goes on */
    LOG_LEVEL_NOTICE,  /* start, reload, a child replaced */
    LOG_LEVEL_INFO,    /* a line for each connection, message and failed login */
    LOG_LEVEL_DEBUG,
};

/* Without a journal its lines go to standard error. */
enum log_destination { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_FILE, LOG_TO_JOURNAL };
enum log_format { LOG_FORMAT_PLAIN, LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_options {
    enum log_destination destination;
    enum log_format format;
    enum log_level level;
};

/* Longest line, in bytes with its line end; fields that do not fit are cut, and the line says
 * so. */
#define LOG_LINE_LIMIT 4096

struct log_record {
    enum log_level level;
    bool wanted;  /* false: below the configured level, every call is a no-op */
    bool watched; /* the watcher gets it, too */
    bool json;
    bool cut;
    size_t length;
    char line[LOG_LINE_LIMIT];
};

/* Call it before a chroot: it needs /proc, as standard error becomes non-blocking
 * (log_output.h). */
void log_configure(const struct log_options *options);
const struct log_options *log_options(void);

/* Names this process in its records ("master", "reactor", "auth"); the string must stay. */
void log_set_process(const char *name);

/*
 * From now on records for syslog leave as datagrams on `fd` (level byte, then the text), for a
 * process outside the chroot to pass on with log_pass_on(). The descriptor stays the caller's.
 */
void log_use_relay(int fd);

/* Gives one datagram of another process to syslog, or writes it to where lines of this
 * process go, each line of it by itself. Any bytes are safe. */
void log_pass_on(const char *datagram, size_t length);
void log_pass_lines_on(const char *datagram, size_t length);

/*
 * Where lines for LOG_TO_FILE go, in the one process that writes the file (log_file.h): until
 * then, and for -1, to standard error. And where its children leave theirs for it: a datagram
 * socket. Both stay the caller's.
 */
void log_set_file(int fd);
void log_set_children_output(int fd);
/* In a child, before anything is logged: the tap is its parent's alone, and where that one
 * writes a file, the child's lines, and what libraries write to standard error, are from now on
 * datagrams for log_pass_lines_on(). */
void log_become_child(void);

/* While this is on, each error message that does not go to standard error is also written
 * there, as before log_configure(): what stops a start is for the person who has typed the
 * command, too. */
void log_show_errors(bool on);

/* The rest of the options stays as it is. */
void log_set_level(enum log_level level);

/* "warning" */
const char *log_level_name(enum log_level level);

/* From now on each message of this process (not what begins with log_begin()) is also given to
 * `tap`, as it is, without escapes. NULL: to nobody. */
typedef void log_tap(void *context, enum log_level level, const char *text);
void log_set_tap(log_tap *tap, void *context);

/*
 * Each message of this process (not what begins with log_begin()) begins with this from now on,
 * and a colon: what it is about, as a place in the configuration. NULL: with nothing. The
 * string must stay until then.
 */
void log_set_subject(const char *subject);

/* How many records could not be written since the start. They are also added to *count, which
 * others may read and must stay (NULL: to none); and counted are those that a library has lost.
 */
uint64_t log_lost(void);
void log_count_lost_in(uint64_t *count);
void log_count_lost(void);
/* Every record does this first: tells what this process has lost and not yet told. False: there
 * is no room for that. */
bool log_tell_lost(void);

void log_begin(struct log_record *record, enum log_level level, const char *event);

/*
 * A watcher gets each event of this process (what begins with log_begin(), up to the level
 * info, or with log_begin_watched(), at any level), whatever the configured level is. Without
 * one an event costs a test. The callback must not log.
 */
struct log_event {
    const char *name;          /* static text */
    const char *user, *client; /* these fields, unescaped, cut if they are long; "": none */
    const char *line;          /* a JSON object, without a line end */
    size_t length;
};
typedef void log_watcher(void *context, const struct log_event *event);
void log_set_watcher(log_watcher *watcher, void *context); /* NULL: nobody watches */
bool log_is_watched(void);
void log_begin_watched(struct log_record *record, enum log_level level, const char *event);
void log_text(struct log_record *record, const char *key,
              const char *value); /* NULL: field left out */
void log_bytes(struct log_record *record, const char *key, const char *value, size_t length);
void log_number(struct log_record *record, const char *key, uint64_t value);
void log_end(struct log_record *record);

/*
 * Ends a record that the next one of this process is expected to follow soon: the line is held
 * back and leaves in one write with it, or at log_flush(). `callback` is called each time a
 * line is held back, and must see to it that log_flush() follows. Until log_on_held(), and
 * where each line is a message of its own (the journal, syslog without a relay), log_end_soon()
 * is log_end(). Order is kept; at most LOG_LINE_LIMIT bytes wait.
 */
void log_on_held(void (*callback)(void *context), void *context);
void log_end_soon(struct log_record *record);
void log_flush(void);

/* Returns whether records of this level are written. */
bool log_wants(enum log_level level);

/* A record whose only field is msg, from a printf format. */
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_notice(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
