/*
 * What a configuration needs of the host that the file itself cannot show: users, a place for
 * the log, the PAM service. Looked at by `postern -n`, at a start and at a reload.
 */
#ifndef POSTERN_HOST_H
#define POSTERN_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

/*
 * False, having logged each fault: nothing can be started like this. `now`: this process will
 * do it, and who is not root needs no users; otherwise perhaps another one will, and they are
 * told of. Without the PAM service there is a start, and a warning. Opens and makes nothing.
 */
MUST_USE bool host_check(const struct config *config, bool now);

/* Could a log be written there? Its directory must exist. False: errno tells. */
MUST_USE bool host_may_append(const char *path);

/* The PAM service may be missing at a start, and come. While it is, call this: it says once
 * when that is over, and returns when to call next (clock_now_ms(); UINT64_MAX: no need). NULL
 * is allowed: nothing is served yet. */
uint64_t host_tend(const struct config *config, uint64_t now_ms);

#endif
