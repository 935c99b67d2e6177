/* What a process gives up before it talks to anybody. All fail closed: false means do not go
 * on. */
#ifndef POSTERN_PRIVILEGES_H
#define POSTERN_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"

struct privileges_user {
    uid_t uid;
    gid_t gid;
};

/* Looks a name up; false, having logged it, if there is no such user or it is root. */
MUST_USE bool privileges_find_user(const char *name, struct privileges_user *out);

/* No core file and no debugger gets at this process's memory (promise 7). */
MUST_USE bool privileges_hide_memory(void);

/* Into an empty directory that has no name any more, and to another user, for good. Root only.
 */
MUST_USE bool privileges_drop(const struct privileges_user *user);

/* Into such a directory alone. */
MUST_USE bool privileges_enter_nowhere(void);

/* To another user without any groups, for good, but with what is permitted now still permitted.
 * Root only. */
MUST_USE bool privileges_become(const struct privileges_user *user);

/* No program started from here gains anything. */
MUST_USE bool privileges_no_new(void);

/* Raises the number of descriptors to the hard limit; returns what it is then. */
unsigned privileges_raise_descriptors(void);

/* Closes every descriptor above 2 that is not among the `count` in `keep`, which gets sorted.
 */
void privileges_keep_descriptors(int *keep, size_t count);

#endif
