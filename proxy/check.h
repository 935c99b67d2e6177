/* What `postern -n` looks at, and `postern setup` when it has written a configuration. */
#ifndef POSTERN_CHECK_H
#define POSTERN_CHECK_H

#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

/*
 * Looks at what a configuration needs here: its certificates, users, places, listeners, and
 * what the systemd unit lets it use. False: a start would fail; every fault was logged. Else
 * *remark is "", or goes on after the word "good" (static). `now`: as for host_check().
 */
MUST_USE bool check_host_for(const struct config *config, bool now, const char **remark);

#endif
