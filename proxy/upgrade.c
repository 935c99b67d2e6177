/*
 * From one program to the next, in one variable of the environment: descriptors with what they
 * are for, and process numbers. The next program reads it when it starts, or is asked whether
 * it could, and takes what it can check: a socket that listens, a table of the right shape, a
 * child of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/upgrade_internal.h"

#define VARIABLE  "POSTERN_UPGRADE"
#define TEXT_SIZE (128 * 1024)

static int configuration = -1; /* a copy for the next program */

static void keep_open(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

static void close_later(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

static void write_former(const struct upgrade_estate *estate, FILE *out)
{
    for (size_t i = 0; i < estate->former_count; i++) {
        const struct former *each = &estate->former[i];
        fprintf(out, "process %d", (int)each->pid);
        if (each->control >= 0)
            fprintf(out, " %d %u", each->control, CONTROL_VERSION);
        fputc('\n', out);
        keep_open(each->control);
    }
}

static void write_controls(const struct upgrade_estate *estate, FILE *out)
{
    for (int i = 0; i < ADMIN_KINDS; i++) {
        char words[ADMIN_SOCKET_WORDS_SIZE];
        if (!admin_sockets_describe(estate->controls, (enum admin_kind)i, words))
            continue;
        keep_open(admin_sockets_descriptor(estate->controls, (enum admin_kind)i));
        fprintf(out, "control %s\n", words);
    }
    if (estate->refusing)
        fputs("refusing\n", out);
}

/* The text of its configuration as a file without a name, which the next program reads. */
static bool write_serving(const struct generation *serving, FILE *out)
{
    struct former reactors[UPGRADE_PROCESSES];
    const struct config *config = generation_config(serving);
    configuration = memfd_create("postern-configuration", 0);
    if (configuration < 0)
        return false;
    fprintf(out, "configuration %d\n", configuration);
    generation_describe(serving, out);
    size_t count = generation_list(serving, reactors, UPGRADE_PROCESSES);
    for (size_t i = 0; i < count; i++)
        keep_open(reactors[i].control);
    return pwrite(configuration, config->text, config->text_length, 0) ==
           (ssize_t)config->text_length;
}

static void write_helpers(const struct upgrade_estate *estate, FILE *out)
{
    departing_describe(estate->departing, out);
    for (size_t i = 0; i < estate->ending_count; i++)
        generation_describe_helpers(estate->ending[i], out);
}

/* "log 5 6\ntally 7\npermits 9\nlisten 8 [::]:465\nprocess 81 10 1\n" */
static bool write_estate(const struct upgrade_estate *estate, FILE *out)
{
    fprintf(out, "log %d %d\ntally %d\npermits %d\n", estate->log[0], estate->log[1],
            tally_descriptor(estate->tally), permits_descriptor(estate->permits));
    keep_open(estate->log[0]);
    keep_open(estate->log[1]);
    keep_open(tally_descriptor(estate->tally));
    keep_open(permits_descriptor(estate->permits));
    for (size_t i = 0; i < listeners_count(estate->listeners); i++) {
        char text[ADDRESS_TEXT_SIZE];
        int fd = listeners_socket(estate->listeners, i, text);
        keep_open(fd);
        fprintf(out, "listen %d %s\n", fd, text);
    }
    write_controls(estate, out);
    if (estate->statistics >= 0) {
        keep_open(estate->statistics);
        fprintf(out, "statistics %d\n", estate->statistics);
    }
    write_former(estate, out);
    write_helpers(estate, out);
    return (!estate->serving || write_serving(estate->serving, out)) && !ferror(out);
}

bool upgrade_leave(const struct upgrade_estate *estate)
{
    char *text = calloc(1, TEXT_SIZE);
    FILE *out = text ? fmemopen(text, TEXT_SIZE - 1, "w") : NULL;
    bool written = out && write_estate(estate, out);
    if (out)
        written = fclose(out) == 0 && written;
    written = written && setenv(VARIABLE, text, 1) == 0;
    free(text);
    return written;
}

static void take_serving_back(const struct generation *serving)
{
    struct former reactors[UPGRADE_PROCESSES];
    size_t count = generation_list(serving, reactors, UPGRADE_PROCESSES);
    for (size_t i = 0; i < count; i++)
        close_later(reactors[i].control);
}

static void take_back(const struct upgrade_estate *estate)
{
    char text[ADDRESS_TEXT_SIZE];
    close_later(estate->log[0]);
    close_later(estate->log[1]);
    close_later(tally_descriptor(estate->tally));
    close_later(permits_descriptor(estate->permits));
    close_later(estate->statistics);
    for (size_t i = 0; i < listeners_count(estate->listeners); i++)
        close_later(listeners_socket(estate->listeners, i, text));
    for (int i = 0; i < ADMIN_KINDS; i++)
        close_later(admin_sockets_descriptor(estate->controls, (enum admin_kind)i));
    for (size_t i = 0; i < estate->former_count; i++)
        close_later(estate->former[i].control);
    if (estate->serving)
        take_serving_back(estate->serving);
    if (configuration >= 0)
        close(configuration);
    configuration = -1;
}

void upgrade_become(const struct upgrade_estate *estate)
{
    if (upgrade_leave(estate)) {
        log_notice("upgrade: %s takes over", upgrade_path());
        upgrade_execute();
    }
    log_error("upgrade refused: %s cannot be executed: %s", upgrade_path(),
              strerrordesc_np(errno));
    unsetenv(VARIABLE);
    take_back(estate);
}

static bool take_log(struct upgrade_estate *estate, const char *line)
{
    int log[2];
    if (sscanf(line, "log %d %d", &log[0], &log[1]) != 2)
        return false;
    close_later(log[0]);
    close_later(log[1]);
    memcpy(estate->log, log, sizeof log);
    return true;
}

static bool take_tally(struct upgrade_estate *estate, const char *line)
{
    int fd;
    if (sscanf(line, "tally %d", &fd) != 1)
        return false;
    close_later(fd);
    estate->tally = tally_adopt(fd);
    return estate->tally != NULL;
}

static bool take_permits(struct upgrade_estate *estate, const char *line)
{
    int fd;
    if (sscanf(line, "permits %d", &fd) != 1)
        return false;
    close_later(fd);
    estate->permits = permits_adopt(fd);
    return estate->permits != NULL;
}

static bool take_listener(struct upgrade_estate *estate, const char *line)
{
    int fd, at = 0;
    struct address address;
    const char *why;
    if (sscanf(line, "listen %d %n", &fd, &at) != 1 || at == 0 ||
        !address_parse(line + at, &address, &why))
        return false;
    close_later(fd);
    return listeners_inherit(estate->listeners, fd, &address);
}

static bool take_control(struct upgrade_estate *estate, const char *line)
{
    return admin_sockets_inherit(estate->controls, line + strlen("control "));
}

static bool take_statistics(struct upgrade_estate *estate, const char *line)
{
    return sscanf(line, "statistics %d", &estate->statistics) == 1;
}

static bool take_refusal(struct upgrade_estate *estate, const char *line)
{
    (void)line;
    estate->refusing = true;
    return true;
}

static bool take_process(struct upgrade_estate *estate, const char *line)
{
    if (estate->former_count == UPGRADE_PROCESSES ||
        !former_take(&estate->former[estate->former_count], line + strlen("process ")))
        return false;
    estate->former_count++;
    return true;
}

static bool take_helper(struct upgrade_estate *estate, const char *line)
{
    return departing_inherit(estate->departing, line + strlen("helper "));
}

static bool take_configuration(struct upgrade_estate *estate, const char *line)
{
    if (sscanf(line, "configuration %d", &estate->configuration) != 1)
        return false;
    close_later(estate->configuration);
    return true;
}

static bool take_reactor(struct upgrade_estate *estate, const char *line)
{
    if (estate->reactor_count == UPGRADE_PROCESSES)
        return false;
    char *words = strdup(line + strlen("reactor "));
    if (words)
        estate->reactors[estate->reactor_count++] = words;
    return words;
}

static bool take_line(struct upgrade_estate *estate, const char *line)
{
    static const struct {
        const char *word;
        bool (*take)(struct upgrade_estate *estate, const char *line);
    } kinds[] = {{"log ", take_log},
                 {"tally ", take_tally},
                 {"permits ", take_permits},
                 {"listen ", take_listener},
                 {"control ", take_control},
                 {"refusing", take_refusal},
                 {"statistics ", take_statistics},
                 {"process ", take_process},
                 {"helper ", take_helper},
                 {"configuration ", take_configuration},
                 {"reactor ", take_reactor}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(line, kinds[i].word, strlen(kinds[i].word)) == 0)
            return kinds[i].take(estate, line);
    return true; /* a later program's */
}

bool upgrade_is_next(void)
{
    return getenv(VARIABLE) != NULL;
}

/* Takes the estate, which is there once only. False: there is none, or a line of it is of no
 * use, which is logged. */
static bool take_lines(struct upgrade_estate *estate,
                       bool (*take)(struct upgrade_estate *estate, const char *line))
{
    const char *left = getenv(VARIABLE);
    char *text = left ? strdup(left) : NULL, *place = NULL;
    bool good = text;
    unsetenv(VARIABLE);
    for (char *line = text ? strtok_r(text, "\n", &place) : NULL; line;
         line = strtok_r(NULL, "\n", &place))
        if (!take(estate, line)) {
            log_warning("upgrade: \"%s\" could not be taken over", line);
            good = false;
        }
    free(text);
    return good;
}

static bool takes_reactors =
    true; /* when asked: those of the one that asks speak as this one */

/* What is open need not be opened on trial; a reactor that speaks otherwise must be draining.
 */
static bool rehearse_line(struct upgrade_estate *estate, const char *line)
{
    unsigned version;
    if (sscanf(line, "reactor %*d %*d %u", &version) == 1)
        takes_reactors &= version == CONTROL_VERSION;
    if (strncmp(line, "listen ", strlen("listen ")) == 0)
        return take_listener(estate, line);
    return strncmp(line, "control ", strlen("control ")) != 0 || take_control(estate, line);
}

bool upgrade_rehearse(const struct config *config)
{
    /* Never freed: to close the sockets would remove their files. */
    static struct upgrade_estate estate;
    estate.listeners = listeners_new();
    estate.controls = admin_sockets_new();
    if (!estate.listeners || !estate.controls || !take_lines(&estate, rehearse_line))
        return false;
    bool good = listeners_open(estate.listeners, config);
    good = admin_sockets_open(estate.controls, config) && good;
    admin_sockets_settle(estate.controls, false);
    if (good && takes_reactors)
        puts(UPGRADE_ANSWER);
    return good;
}

bool upgrade_take_over(struct upgrade_estate *estate)
{
    return take_lines(estate, take_line);
}
