/*
 * Reads the configuration file: main calls it at start, the master again at every reload. The
 * text is prepared (config_text.c), parsed by libconfuse with the table's parser, and each
 * value converted as libconfuse meets it (config_value.c), because only then is its line known.
 * Goes on after a fault, to tell of all; changes nothing outside the struct that it returns.
 */
#include "proxy/config.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config_internal.h"

struct reading {
    struct config *config;
    cfg_t *parser;
    unsigned faults;
    bool passing_over; /* what stands behind an unknown key */
    bool in_listen;    /* the last of config->listens is not complete yet */
    /* Where each key stood; 0: not yet. For "listen", in this section. */
    unsigned line[CONFIG_ROWS];
};

/* libconfuse's callbacks carry no context. */
static struct reading *reading;

/* Logs "file:line: section: key: why". A line 0 is none; `title` and `key` may be NULL. */
PRINTF_LIKE(5, 6)
static void fault(unsigned line, const char *section, const char *title, const char *key,
                  const char *format, ...)
{
    char why[CONFIG_WHY_SIZE], number[16] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);

    reading->faults++;
    if (line > 0)
        snprintf(number, sizeof number, "%u:", line);
    log_error("%s:%s %s%s%.100s%s%s%.100s%s%s", reading->config->path, number, section,
              title ? " \"" : "", title ? title : "", title ? "\"" : "", *section ? ": " : "",
              key ? key : "", key && *key ? ": " : "", why);
}

static const char *section_name(cfg_t *section)
{
    return section == reading->parser ? "" : cfg_name(section);
}

static unsigned line_of(const cfg_t *section)
{
    return section->line > 0 ? (unsigned)section->line : 1;
}

static unsigned *row_line(const struct config_row *row)
{
    return &reading->line[row - config_rows];
}

static struct config_listen *last_listen(void)
{
    return &reading->config->listens[reading->config->listen_count - 1];
}

/* Gives every option of "listen", or of all other sections, its default. */
static void take_defaults(void *base, bool listen)
{
    char why[CONFIG_WHY_SIZE];
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *row = &config_rows[i];
        if (config_row_is(row, "listen") == listen && !config_value_default(row, base, why))
            fault(0, row->option.section, NULL, row->option.key, "%s", why);
    }
}

/* Adds a listener with its defaults. False: no memory. */
static bool begin_listen(const char *name)
{
    struct config *config = reading->config;
    struct config_listen *listens =
        reallocarray(config->listens, config->listen_count + 1, sizeof *listens);
    char *copy = strdup(name);
    if (listens)
        config->listens = listens;
    if (!listens || !copy) {
        free(copy);
        fault(line_of(reading->parser), "listen", name, NULL, "out of memory");
        return false;
    }
    listens[config->listen_count++] = (struct config_listen){.name = copy};
    take_defaults(last_listen(), true);
    reading->in_listen = true;
    return true;
}

/* The struct that a section's values belong to; NULL: no memory. */
static void *section_base(cfg_t *section)
{
    if (strcmp(section_name(section), "listen") != 0)
        return reading->config;
    if (!reading->in_listen && !begin_listen(cfg_title(section)))
        return NULL;
    return last_listen();
}

/* libconfuse has met a value. Always returns 0: it shall go on. */
static int take_value(cfg_t *section, cfg_opt_t *option)
{
    char why[CONFIG_WHY_SIZE];
    const struct config_row *row = config_row_find(section_name(section), cfg_opt_name(option));
    void *base = section_base(section);
    unsigned *line = row_line(row);

    section->flags &= ~CFGF_IGNORE_UNKNOWN;
    reading->passing_over = false;
    unsigned before = *line;
    /* Of a list, each element is told of, and then its end. */
    if (before == 0 || row->kind != CONFIG_WORDS)
        *line = line_of(section);
    if (!base || row->kind == CONFIG_WORDS)
        return 0;
    if (before > 0)
        fault(*line, section_name(section), cfg_title(section), row->option.key,
              "is given twice, first in line %u", before);
    else if (!config_value_take(row, base, cfg_opt_getnstr(option, 0), why))
        fault(*line, section_name(section), cfg_title(section), row->option.key, "%s", why);
    return 0;
}

/* Lists come whole, when the file has been read. */
static void take_lists(void)
{
    char why[CONFIG_WHY_SIZE];
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->kind != CONFIG_WORDS || *row_line(row) == 0)
            continue;
        cfg_t *section = cfg_getsec(reading->parser, row->option.section);
        cfg_opt_t *option = cfg_getopt(section, row->option.key);
        *(uint32_t *)(void *)((char *)reading->config + row->offset) = 0;
        for (unsigned j = 0; j < cfg_opt_size(option); j++)
            if (!config_value_take(row, reading->config, cfg_opt_getnstr(option, j), why))
                fault(*row_line(row), row->option.section, NULL, row->option.key, "%s", why);
    }
}

/* Tells of keys without a default that `section` does not have. */
static void require_keys(const char *section, const char *title, unsigned line)
{
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *row = &config_rows[i];
        if (config_row_is(row, section) && !row->option.fallback && *row_line(row) == 0)
            fault(line, section, title, row->option.key, "must be given");
    }
}

static void check_listen_is_alone(const struct config_listen *listen, unsigned line)
{
    for (const struct config_listen *other = reading->config->listens; other < listen; other++)
        if (listen->address.length > 0 && address_equal(&other->address, &listen->address))
            fault(line, "listen", listen->name, "address",
                  "\"%.200s\" is also the address of listen \"%.100s\"", listen->address_text,
                  other->name);
}

/* libconfuse has come to the end of a section. Always returns 0. */
static int close_section(cfg_t *parser, cfg_opt_t *option)
{
    if (strcmp(cfg_opt_name(option), "listen") != 0)
        return 0;
    const char *title = cfg_title(cfg_opt_getnsec(option, cfg_opt_size(option) - 1));
    if (!reading->in_listen && !begin_listen(title))
        return 0;

    const struct config_row *address = config_row_find("listen", "address");
    if (!*title)
        fault(line_of(parser), "listen", title, NULL, "the name is empty");
    require_keys("listen", title, line_of(parser));
    check_listen_is_alone(last_listen(), *row_line(address));
    for (size_t i = 0; i < CONFIG_ROWS; i++)
        if (config_row_is(&config_rows[i], "listen"))
            reading->line[i] = 0;
    reading->in_listen = false;
    return 0;
}

/* libconfuse does not understand the file, or not one of its words. */
PRINTF_LIKE(2, 0)
static void parser_fault(cfg_t *section, const char *format, va_list arguments)
{
    char text[CONFIG_WHY_SIZE];
    unsigned line = line_of(section);
    const char *name = section_name(section), *title = cfg_title(section);

    if (strncmp(format, "no such option", strlen("no such option")) == 0) {
        /* Makes libconfuse pass over it and go on; taken back at the next known key. */
        section->flags |= CFGF_IGNORE_UNKNOWN;
        reading->passing_over = true;
        fault(line, name, title, va_arg(arguments, const char *), "there is no such key");
    } else if (strncmp(format, "found duplicate title", strlen("found duplicate title")) == 0) {
        fault(line, "listen", va_arg(arguments, const char *), NULL,
              "an earlier section has this name");
    } else if (!reading->passing_over) {
        vsnprintf(text, sizeof text, format, arguments);
        fault(line, name, title, NULL, "%s", text);
    }
}

static void text_fault(void *context, unsigned line, const char *key, const char *why)
{
    (void)context;
    fault(line, "", NULL, key, "%s", why);
}

static void default_listens(void)
{
    char why[CONFIG_WHY_SIZE];
    const struct config_row *address = config_row_find("listen", "address");
    const struct config_row *tls = config_row_find("listen", "tls");
    for (size_t i = 0; i < CONFIG_DEFAULT_LISTENS; i++) {
        const struct config_default_listen *listen = &config_default_listens[i];
        if (begin_listen(listen->name) &&
            (!config_value_take(address, last_listen(), listen->address, why) ||
             !config_value_take(tls, last_listen(), listen->tls, why)))
            fault(0, "listen", listen->name, NULL, "%s", why);
    }
    reading->in_listen = false;
}

/* Would a connection to the backend come back to this listener? */
static bool is_loop(const struct config_listen *listen, const struct address *backend)
{
    char host[ADDRESS_HOST_SIZE];
    struct address listener = listen->address, target = *backend;
    address_normalise(&target);
    address_normalise(&listener);
    if (address_equal(&listener, &target))
        return true;
    address_host(&listener, host);
    bool any = strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
    address_host(&target, host);
    bool local = strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0;
    return any && local && address_port(&listener) == address_port(&target);
}

/* What no single key can be blamed for. */
static void check_together(void)
{
    struct config *config = reading->config;
    const struct config_row *share = config_row_find("auth", "share");
    const struct config_row *backend = config_row_find("backend", "address");

    if (config->auth.share > config->auth.workers)
        fault(*row_line(share), "auth", NULL, "share", "%u is more than the %u workers",
              config->auth.share, config->auth.workers);
    for (size_t i = 0; i < config->listen_count; i++)
        if (is_loop(&config->listens[i], &config->backend.address))
            fault(*row_line(backend), "backend", NULL, "address",
                  "\"%.200s\" leads back to listen \"%.100s\"", config->backend.address_text,
                  config->listens[i].name);
}

/* Finds the whole name of a short host name in /etc/hosts; asks no name server. */
static char *whole_name(const char *host)
{
    char *found = NULL;
    const struct hostent *entry;
    sethostent(0);
    while (!found && (entry = gethostent())) {
        bool known = strcmp(entry->h_name, host) == 0;
        for (char **alias = entry->h_aliases; *alias && !known; alias++)
            known = strcmp(*alias, host) == 0;
        if (known && strchr(entry->h_name, '.'))
            found = strdup(entry->h_name);
    }
    endhostent();
    return found ? found : strdup(host);
}

static void default_hostname(void)
{
    char host[256] = "";
    char why[CONFIG_WHY_SIZE];
    const struct config_row *row = config_row_find("", "hostname");
    if (reading->config->hostname[0] != '\0')
        return;
    gethostname(host, sizeof host - 1);
    char *name = strchr(host, '.') ? strdup(host) : whole_name(host);
    if (!name || !*name || !config_value_take(row, reading->config, name, why))
        fault(*row_line(row), "", NULL, "hostname",
              "must be given: this host's own name, \"%.100s\", is of no use", host);
    free(name);
}

static void parse(const char *text)
{
    unsigned before = reading->faults;
    cfg_set_error_function(reading->parser, parser_fault);
    bool parsed = cfg_parse_buf(reading->parser, text) == CFG_SUCCESS;
    if (!parsed && reading->faults == before)
        fault(line_of(reading->parser), "", NULL, NULL, "cannot be understood");

    take_lists();
    if (!parsed)
        return;
    cfg_t *tls = cfg_getsec(reading->parser, "tls");
    require_keys("tls", NULL, line_of(tls->line > 0 ? tls : reading->parser));
    if (reading->config->listen_count == 0)
        default_listens();
}

static void read_text(const char *text, size_t length)
{
    char *prepared = config_text_prepare(text, length, text_fault, NULL);
    if (!prepared)
        return;
    reading->parser = config_table_parser(take_value, close_section);
    if (reading->parser)
        parse(prepared);
    else
        fault(0, "", NULL, NULL, "out of memory");
    free(prepared);
    cfg_free(reading->parser);
    reading->parser = NULL;
}

static void read_file(const char *path)
{
    size_t length = 0;
    const char *why = NULL;
    char *text = config_text_read(path, &length, &why);
    if (!text) {
        reading->faults++;
        log_error("%s: %s", path, why ? why : strerror(errno));
        return;
    }
    take_defaults(reading->config, false);
    read_text(text, length);
    free(text);
    if (reading->faults > 0)
        return;
    check_together();
    default_hostname();
}

struct config *config_load(const char *path)
{
    struct reading this = {.config = calloc(1, sizeof(struct config))};
    if (!this.config || !(this.config->path = strdup(path))) {
        log_error("%s: out of memory", path);
        config_free(this.config);
        return NULL;
    }
    reading = &this;
    read_file(path);
    reading = NULL;
    if (this.faults == 0)
        return this.config;
    config_free(this.config);
    return NULL;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < CONFIG_ROWS; i++) {
        const struct config_row *row = &config_rows[i];
        if (!config_row_is(row, "listen"))
            config_value_free(row, config);
        else
            for (size_t j = 0; j < config->listen_count; j++)
                config_value_free(row, &config->listens[j]);
    }
    for (size_t j = 0; j < config->listen_count; j++)
        free(config->listens[j].name);
    free(config->listens);
    free(config->path);
    free(config);
}
