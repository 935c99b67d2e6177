/*
 * The master gives each line that it writes, its own and its children's, to the journal. What a
 * child says stays inside POSTERN_ fields and MESSAGE: nothing else has a name that comes from
 * a line.
 */
#include "proxy/base/log_journal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A field's name; a longer one is no field of ours. */
#define KEY_SIZE 32

struct entry {
    char *out;
    size_t length;
};

struct pair {
    const char *key, *value;
    size_t key_length, value_length;
    bool quoted;
};

static void put(struct entry *entry, const char *bytes, size_t length)
{
    if (length > LOG_JOURNAL_ENTRY_SIZE - entry->length)
        length = LOG_JOURNAL_ENTRY_SIZE - entry->length;
    memcpy(entry->out + entry->length, bytes, length);
    entry->length += length;
}

/* Without quotes and the backslashes before quotes and backslashes; control characters, which
 * might begin another field, become "?". */
static void put_value(struct entry *entry, const struct pair *pair)
{
    for (size_t i = 0; i < pair->value_length; i++) {
        char byte = pair->value[i];
        bool escaped = pair->quoted && byte == '\\' && i + 1 < pair->value_length &&
                       (pair->value[i + 1] == '"' || pair->value[i + 1] == '\\');
        if (escaped)
            byte = pair->value[++i];
        put(entry, iscntrl((unsigned char)byte) ? "?" : &byte, 1);
    }
    put(entry, "\n", 1);
}

/* Where the value ends that begins at `start`. */
static size_t value_end(const char *line, size_t length, size_t start)
{
    size_t end = start;
    if (start < length && line[start] == '"') {
        for (end++; end < length && line[end] != '"'; end++)
            end += line[end] == '\\';
        return end < length ? end + 1 : length;
    }
    while (end < length && line[end] != ' ')
        end++;
    return end;
}

/* The pair that begins at *at, which is moved behind it and its blank. False: there is none. */
static bool next_pair(const char *line, size_t length, size_t *at, struct pair *pair)
{
    size_t start = *at, sign = start;
    while (sign < length && (islower((unsigned char)line[sign]) || line[sign] == '_'))
        sign++;
    if (sign == start || sign >= length || line[sign] != '=' || sign - start >= KEY_SIZE)
        return false;
    size_t end = value_end(line, length, sign + 1);
    *at = end < length ? end + 1 : end;
    *pair = (struct pair){line + start, line + sign + 1, sign - start, end - sign - 1, false};
    if (pair->value_length >= 2 && pair->value[0] == '"' &&
        pair->value[pair->value_length - 1] == '"') {
        pair->quoted = true;
        pair->value++;
        pair->value_length -= 2;
    }
    return true;
}

static bool is(const struct pair *pair, const char *key)
{
    return strlen(key) == pair->key_length && memcmp(pair->key, key, pair->key_length) == 0;
}

static char priority_of(const struct pair *level)
{
    static const struct {
        const char *name;
        char priority;
    } levels[] = {{"error", '3'}, {"warning", '4'}, {"notice", '5'}, {"debug", '7'}};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strlen(levels[i].name) == level->value_length &&
            memcmp(levels[i].name, level->value, level->value_length) == 0)
            return levels[i].priority;
    return '6';
}

static void put_field(struct entry *entry, const struct pair *pair)
{
    char name[sizeof "POSTERN_" + KEY_SIZE] = "POSTERN_";
    size_t length = strlen(name);
    for (size_t i = 0; i < pair->key_length; i++)
        name[length++] = (char)toupper((unsigned char)pair->key[i]);
    name[length++] = '=';
    put(entry, name, length);
    put_value(entry, pair);
}

size_t log_journal_format(const char *line, size_t length,
                          char out[static LOG_JOURNAL_ENTRY_SIZE])
{
    static const char head[] = "SYSLOG_IDENTIFIER=postern\nSYSLOG_FACILITY=2\nPRIORITY=";
    struct entry entry = {.out = out};
    struct pair pair;
    size_t at = 0, message = 0;
    char priority = '6';
    /* time and level come first, if they are there. */
    while (next_pair(line, length, &at, &pair) && (is(&pair, "time") || is(&pair, "level"))) {
        if (is(&pair, "level"))
            priority = priority_of(&pair);
        message = at;
    }
    put(&entry, head, sizeof head - 1);
    put(&entry, (char[]){priority, '\n'}, 2);
    put(&entry, "MESSAGE=", 8);
    put_value(&entry,
              &(struct pair){.value = line + message, .value_length = length - message});
    for (at = message; next_pair(line, length, &at, &pair);)
        put_field(&entry, &pair);
    return entry.length;
}

static const struct sockaddr_un journal = {.sun_family = AF_UNIX,
                                           .sun_path = LOG_JOURNAL_SOCKET};

bool log_journal_exists(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && connect(fd, (const struct sockaddr *)&journal, sizeof journal) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return found;
}

bool log_journal_send(const char *line, size_t length)
{
    static int fd = -1;
    char entry[LOG_JOURNAL_ENTRY_SIZE];
    if (fd < 0)
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (length > 0 && line[length - 1] == '\n')
        length--;
    return fd >= 0 && sendto(fd, entry, log_journal_format(line, length, entry),
                             MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&journal,
                             sizeof journal) >= 0;
}
