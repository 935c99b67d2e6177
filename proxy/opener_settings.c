/*
 * From the configuration to the opener's arguments and back: a few for the process, then the
 * same number for each backend, in the configuration's order, so that an index means the same
 * to reactor and opener. A program's line is parsed on both sides, by the same parser.
 */
#include "proxy/opener_settings.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/identity.h"

enum own_argument {
    OWN_TITLE,
    OWN_FLAG,
    OWN_USER,
    OWN_HOSTNAME,
    OWN_LOG_DESTINATION,
    OWN_LOG_FORMAT,
    OWN_LOG_LEVEL,
    OWN_ARGUMENTS,
};

enum backend_argument {
    BACKEND_NAME,
    BACKEND_WAY,
    BACKEND_ADDRESS,
    BACKEND_PROGRAM,
    BACKEND_USER,
    BACKEND_RELAYCLIENT,
    BACKEND_LIMIT,
    BACKEND_ARGUMENTS,
};

/* Digits and a NUL; four such texts stand behind the pointers. */
#define NUMBER_SIZE 12

enum opener_way opener_way(const struct config_backend *backend)
{
    switch (identity_way(backend->identity)->transport) {
    case IDENTITY_PROGRAM:
        return OPENER_PROGRAM;
    case IDENTITY_TRANSPARENT:
        return OPENER_TRANSPARENT;
    case IDENTITY_SOCKET:
        break;
    }
    return backend->address.any.sa_family == AF_UNIX ? OPENER_UNIX : OPENER_NONE;
}

bool opener_needed(const struct config *config)
{
    for (size_t i = 0; i < config->backend_count; i++)
        if (opener_way(&config->backends[i]) != OPENER_NONE)
            return true;
    return false;
}

/* "unset" is what a configuration without the key says. */
static const char *relayclient_of(const char *text)
{
    return strcmp(text, "unset") == 0 ? NULL : text;
}

static bool take_program(struct opener_backend *out, const char *line)
{
    char why[PROGRAM_WHY_SIZE];
    if (out->way != OPENER_PROGRAM || program_line_parse(line, &out->program, why))
        return true;
    log_error("backend \"%s\": program: %s", out->name, why);
    return false;
}

bool opener_settings_from_config(struct opener_settings *settings, const struct config *config)
{
    *settings = (struct opener_settings){
        .user = config->user,
        .hostname = config->hostname,
        .log = config->log,
        .backends = calloc(config->backend_count, sizeof *settings->backends),
    };
    if (!settings->backends)
        return false;
    for (size_t i = 0; i < config->backend_count; i++) {
        const struct config_backend *backend = &config->backends[i];
        struct opener_backend *out = &settings->backends[settings->count++];
        *out = (struct opener_backend){
            .name = backend->name,
            .way = opener_way(backend),
            .address = backend->address,
            .user = backend->user,
            .relayclient = relayclient_of(backend->relayclient),
            .program_limit = backend->program_limit,
        };
        if (!take_program(out, backend->program))
            return false;
    }
    return true;
}

static bool take_backend(struct opener_backend *out, char *const *arguments)
{
    const char *why;
    *out = (struct opener_backend){
        .name = arguments[BACKEND_NAME],
        .way = (enum opener_way)atoi(arguments[BACKEND_WAY]),
        .user = arguments[BACKEND_USER],
        .relayclient = relayclient_of(arguments[BACKEND_RELAYCLIENT]),
        .program_limit = (unsigned)atoi(arguments[BACKEND_LIMIT]),
    };
    if (out->way >= OPENER_WAY_COUNT)
        return false;
    return address_parse(arguments[BACKEND_ADDRESS], &out->address, &why) &&
           take_program(out, arguments[BACKEND_PROGRAM]);
}

bool opener_settings_from_arguments(struct opener_settings *settings, int count,
                                    char *const *arguments)
{
    memset(settings, 0, sizeof *settings);
    int rest = count - OWN_ARGUMENTS;
    if (rest <= 0 || rest % BACKEND_ARGUMENTS != 0)
        return false;
    *settings = (struct opener_settings){
        .user = arguments[OWN_USER],
        .hostname = arguments[OWN_HOSTNAME],
        .log.destination = (enum log_destination)atoi(arguments[OWN_LOG_DESTINATION]),
        .log.format = (enum log_format)atoi(arguments[OWN_LOG_FORMAT]),
        .log.level = (enum log_level)atoi(arguments[OWN_LOG_LEVEL]),
        .backends = calloc((size_t)rest / BACKEND_ARGUMENTS, sizeof *settings->backends),
    };
    if (!settings->backends)
        return false;
    for (arguments += OWN_ARGUMENTS; rest > 0; rest -= BACKEND_ARGUMENTS) {
        if (!take_backend(&settings->backends[settings->count++], arguments))
            return false;
        arguments += BACKEND_ARGUMENTS;
    }
    return true;
}

void opener_settings_free(struct opener_settings *settings)
{
    free(settings->backends);
    memset(settings, 0, sizeof *settings);
}

static char *number(char **room, unsigned value)
{
    char *text = *room;
    snprintf(text, NUMBER_SIZE, "%u", value);
    *room += NUMBER_SIZE;
    return text;
}

static void put_backend(const char **out, const struct config_backend *backend, char **room)
{
    out[BACKEND_NAME] = backend->name;
    out[BACKEND_WAY] = number(room, opener_way(backend));
    out[BACKEND_ADDRESS] = backend->address_text;
    out[BACKEND_PROGRAM] = backend->program;
    out[BACKEND_USER] = backend->user;
    out[BACKEND_RELAYCLIENT] = backend->relayclient;
    out[BACKEND_LIMIT] = number(room, backend->program_limit);
}

char **opener_arguments(const struct config *config)
{
    const struct log_options *log = log_options();
    size_t count = OWN_ARGUMENTS + config->backend_count * BACKEND_ARGUMENTS;
    size_t numbers = 3 + 2 * config->backend_count;
    const char **out = calloc(1, (count + 1) * sizeof *out + numbers * NUMBER_SIZE);
    if (!out)
        return NULL;
    char *room = (char *)(out + count + 1);
    out[OWN_TITLE] = "postern: opener";
    out[OWN_FLAG] = "--opener";
    out[OWN_USER] = config->user;
    out[OWN_HOSTNAME] = config->hostname;
    out[OWN_LOG_DESTINATION] = number(&room, log->destination);
    out[OWN_LOG_FORMAT] = number(&room, log->format);
    out[OWN_LOG_LEVEL] = number(&room, log->level);
    for (size_t i = 0; i < config->backend_count; i++)
        put_backend(out + OWN_ARGUMENTS + i * BACKEND_ARGUMENTS, &config->backends[i], &room);
    return (char **)(uintptr_t)out;
}

bool opener_settings_use(const struct opener_settings *settings, enum opener_way way)
{
    for (size_t i = 0; i < settings->count; i++)
        if (settings->backends[i].way == way)
            return true;
    return false;
}
