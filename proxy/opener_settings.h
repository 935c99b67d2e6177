/*
 * What an opener knows: of each backend how it is opened. It comes from the
 * master as arguments of the process, none of which is secret, and never from
 * the reactor.
 */
#ifndef POSTERN_OPENER_SETTINGS_H
#define POSTERN_OPENER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/base/log.h"
#include "proxy/config.h"
#include "proxy/program_line.h"

enum opener_way {
    OPENER_NONE,        /* the reactor connects by itself */
    OPENER_UNIX,        /* a unix socket */
    OPENER_PROGRAM,     /* a program on a socket pair */
    OPENER_TRANSPARENT, /* TCP from the client's own address */
    OPENER_WAY_COUNT,
};

struct opener_backend {
    const char *name;
    enum opener_way way;
    struct address address;
    struct program_line program;
    const char *user;        /* whom a program runs as; empty: whoever starts it */
    const char *relayclient; /* what RELAYCLIENT says; NULL: it is not set */
    unsigned program_limit;  /* at once */
};

/* The texts are the configuration's, or the arguments'. */
struct opener_settings {
    const char *user;     /* whom the opener itself becomes */
    const char *hostname; /* for TCPLOCALHOST */
    struct log_options log;
    struct opener_backend *backends;
    size_t count;
};

/* How a backend of the configuration is opened. */
enum opener_way opener_way(const struct config_backend *backend);

/* Does any backend of the configuration need an opener? */
bool opener_needed(const struct config *config);

/* Both return false, having logged why, if that is not possible; opener_settings_free() after
 * either. */
MUST_USE bool opener_settings_from_config(struct opener_settings *settings,
                                          const struct config *config);
MUST_USE bool opener_settings_from_arguments(struct opener_settings *settings, int count,
                                             char *const *arguments);
void opener_settings_free(struct opener_settings *settings);

/* The arguments for execv(), to be freed as one piece; NULL: no memory. */
MUST_USE char **opener_arguments(const struct config *config);

/* Does one of the backends go this way? */
bool opener_settings_use(const struct opener_settings *settings, enum opener_way way);

#endif
