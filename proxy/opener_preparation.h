/* What a program of an opener is started with, all of which is made before its process is. */
#ifndef POSTERN_OPENER_PREPARATION_H
#define POSTERN_OPENER_PREPARATION_H

#include "proxy/base/compiler.h"
#include "proxy/opener_environment.h"
#include "proxy/opener_message.h"
#include "proxy/opener_settings.h"
#include "proxy/program_line.h"

struct opener_preparation {
    struct opener_values values;
    struct program_arguments arguments;
    struct opener_environment environment;
    int ends[2];   /* of the session: the reactor's, the program's */
    int watch;     /* of both, for opener_ends_look() */
    int status[2]; /* to read, to write */
};

/* Returns 0, and the caller closes the descriptors; or an errno, logged where it is not the
 * system's, and there are none. */
MUST_USE int opener_prepare(struct opener_preparation *out, const char *hostname,
                            const struct opener_backend *backend,
                            const struct opener_order *order);

#endif
