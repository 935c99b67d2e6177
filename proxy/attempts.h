/*
 * Logins between the pool (auth/pool.h), which knows nothing of limits, and the limits
 * (abuse.h), which know nothing of PAM.
 */
#ifndef POSTERN_ATTEMPTS_H
#define POSTERN_ATTEMPTS_H

#include "auth/pool.h"

struct service;

/*
 * The reactor's pool, by the configuration of `service`. What PAM says of a login is counted by
 * the limits of `service`, which may be made later, before the login's callback is called. The
 * login of a client that has gone counts too, or hanging up in time would make a guess free.
 * NULL: no memory.
 */
MUST_USE struct auth_pool *attempts_new_pool(struct service *service, auth_pool_fault *fault,
                                             void *fault_context);

#endif
