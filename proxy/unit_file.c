/*
 * Unit files of systemd, line by line: a table of the settings that matter here. Pure.
 */
#include "proxy/unit_file.h"

#include <string.h>
#include <strings.h>

#include "proxy/capabilities.h"

struct word {
    const char *start;
    size_t length;
};

/* So is the end of a line that goes on: it is in the middle of a value. */
static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n' || byte == '\\';
}

/* The next word of a value; empty at its end. */
static struct word next_word(struct word *rest)
{
    while (rest->length > 0 && is_blank(*rest->start)) {
        rest->start++;
        rest->length--;
    }
    struct word word = {rest->start, 0};
    while (word.length < rest->length && !is_blank(word.start[word.length]))
        word.length++;
    rest->start += word.length;
    rest->length -= word.length;
    return word;
}

static bool is(struct word word, const char *text)
{
    return word.length == strlen(text) && strncasecmp(word.start, text, word.length) == 0;
}

static bool is_true(struct word word)
{
    return is(word, "yes") || is(word, "true") || is(word, "on") || is(word, "1");
}

static void take_start(struct unit_file *unit, struct word value)
{
    struct word word;
    unit->configuration[0] = '\0';
    while ((word = next_word(&value)).length > 0)
        if (is(word, "-c") || is(word, "--config")) {
            word = next_word(&value);
            if (word.length < sizeof unit->configuration) {
                memcpy(unit->configuration, word.start, word.length);
                unit->configuration[word.length] = '\0';
            }
        }
}

/* Those that Postern may need. */
static uint64_t capability(struct word word)
{
    static const struct {
        const char *name;
        unsigned number;
    } known[] = {
        {"CAP_DAC_OVERRIDE", CAP_DAC_OVERRIDE},
        {"CAP_DAC_READ_SEARCH", CAP_DAC_READ_SEARCH},
        {"CAP_SETUID", CAP_SETUID},
        {"CAP_SETGID", CAP_SETGID},
        {"CAP_KILL", CAP_KILL},
        {"CAP_NET_ADMIN", CAP_NET_ADMIN},
        {"CAP_SYS_CHROOT", CAP_SYS_CHROOT},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (is(word, known[i].name))
            return CAPABILITY(known[i].number);
    return 0;
}

/* The first set stands for all; further ones add up. "~" takes away, from all if it is the
 * first. An empty one is none, "~" alone all. */
static void take_capabilities(struct unit_file *unit, struct word value)
{
    struct word word = next_word(&value);
    bool remove = word.length > 0 && *word.start == '~';
    uint64_t named = 0;
    if (remove) {
        word.start++;
        word.length--;
    }
    bool empty = word.length == 0;
    for (; word.length > 0; word = next_word(&value))
        named |= capability(word);
    if (!unit->bounded || empty)
        unit->capabilities = remove ? UINT64_MAX : 0;
    unit->bounded = true;
    unit->capabilities = remove ? unit->capabilities & ~named : unit->capabilities | named;
}

/* "1024:65536" is soft and hard; what is no number is as if it were not there. */
static void take_descriptors(struct unit_file *unit, struct word value)
{
    struct word word = next_word(&value);
    const char *colon = word.length > 0 ? memchr(word.start, ':', word.length) : NULL;
    uint64_t number = 0;
    if (colon) {
        word.length -= (size_t)(colon + 1 - word.start);
        word.start = colon + 1;
    }
    if (is(word, "infinity")) {
        unit->descriptors = UINT64_MAX;
        return;
    }
    for (size_t i = 0; i < word.length; i++) {
        if (word.start[i] < '0' || word.start[i] > '9' || number > UINT32_MAX)
            return;
        number = number * 10 + (uint64_t)(word.start[i] - '0');
    }
    unit->descriptors = number;
}

static void take_homes(struct unit_file *unit, struct word value)
{
    struct word word = next_word(&value);
    unit->hides_homes = is_true(word) || is(word, "tmpfs");
}

static void take_tmp(struct unit_file *unit, struct word value)
{
    struct word word = next_word(&value);
    unit->private_tmp = is_true(word) || is(word, "disconnected");
}

static void take_system(struct unit_file *unit, struct word value)
{
    unit->only_writes = is(next_word(&value), "strict");
}

/* What has no room is not writable, and that is told of, as no path is that long. */
static void add_writable(struct unit_file *unit, const char *directory, struct word path)
{
    size_t used = strlen(unit->writable), length = strlen(directory);
    if (used + 1 + length + path.length >= sizeof unit->writable)
        return;
    unit->writable[used++] = ' ';
    memcpy(unit->writable + used, directory, length);
    memcpy(unit->writable + used + length, path.start, path.length);
    unit->writable[used + length + path.length] = '\0';
}

static void add_each_writable(struct unit_file *unit, const char *directory, struct word value)
{
    struct word word;
    while ((word = next_word(&value)).length > 0) {
        while (word.length > 0 && (*word.start == '-' || *word.start == '+')) {
            word.start++;
            word.length--;
        }
        if (word.length > 0 && !memchr(word.start, '\0', word.length))
            add_writable(unit, directory, word);
    }
}

static void take_paths(struct unit_file *unit, struct word value)
{
    add_each_writable(unit, "", value);
}

static void take_logs(struct unit_file *unit, struct word value)
{
    add_each_writable(unit, "/var/log/", value);
}

static void take_runtime(struct unit_file *unit, struct word value)
{
    add_each_writable(unit, "/run/", value);
}

static void take_state(struct unit_file *unit, struct word value)
{
    add_each_writable(unit, "/var/lib/", value);
}

static const struct setting {
    const char *key;
    void (*take)(struct unit_file *unit, struct word value);
} settings[] = {
    {"ExecStart", take_start},      {"CapabilityBoundingSet", take_capabilities},
    {"ProtectHome", take_homes},    {"PrivateTmp", take_tmp},
    {"ProtectSystem", take_system}, {"ReadWritePaths", take_paths},
    {"LogsDirectory", take_logs},   {"RuntimeDirectory", take_runtime},
    {"StateDirectory", take_state}, {"LimitNOFILE", take_descriptors},
};

/* NULL: none that matters here. Moves `line` to the value. */
static const struct setting *find_setting(struct word *line)
{
    const char *equals = memchr(line->start, '=', line->length);
    struct word head = {line->start, equals ? (size_t)(equals - line->start) : 0};
    struct word key = next_word(&head);
    for (size_t i = 0; equals && i < sizeof settings / sizeof settings[0]; i++)
        if (strlen(settings[i].key) == key.length &&
            memcmp(settings[i].key, key.start, key.length) == 0) {
            line->length -= (size_t)(equals + 1 - line->start);
            line->start = equals + 1;
            return &settings[i];
        }
    return NULL;
}

/* A line and those that go on with it after a backslash at its end, as one. */
static struct word next_line(const char **at, const char *end)
{
    struct word line = {*at, 0};
    bool more = true;
    while (more && *at < end) {
        const char *stop = memchr(*at, '\n', (size_t)(end - *at));
        stop = stop ? stop : end;
        more = stop > *at && stop[-1] == '\\';
        line.length = (size_t)(stop - line.start);
        *at = stop < end ? stop + 1 : end;
    }
    return line;
}

void unit_file_read(struct unit_file *unit, const char *text, size_t length)
{
    const char *at = text, *end = text + length;
    while (at < end) {
        struct word line = next_line(&at, end);
        const struct setting *setting = find_setting(&line);
        if (setting)
            setting->take(unit, line);
    }
}

bool unit_file_allows(const struct unit_file *unit, uint64_t set)
{
    return !unit->bounded || (set & ~unit->capabilities) == 0;
}

bool unit_file_reads_all(const struct unit_file *unit)
{
    return unit_file_allows(unit, CAPABILITY(CAP_DAC_OVERRIDE)) ||
           unit_file_allows(unit, CAPABILITY(CAP_DAC_READ_SEARCH));
}

bool unit_file_may_write(const struct unit_file *unit, const char *path)
{
    struct word rest = {unit->writable, strlen(unit->writable)}, word;
    if (!unit->only_writes)
        return true;
    while ((word = next_word(&rest)).length > 0)
        if (strncmp(path, word.start, word.length) == 0 &&
            (path[word.length] == '/' || path[word.length] == '\0' ||
             word.start[word.length - 1] == '/'))
            return true;
    return false;
}
