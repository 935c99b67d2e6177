/* What a process gives up before it talks to anybody. All but privileges_enter_nowhere() fail
 * closed: false means do not go on. */
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

/* After "there is no user", in a printf format for the user's name. */
#define PRIVILEGES_USERADD                                                                     \
    "; make one with: useradd --system --no-create-home --shell /usr/sbin/nologin %s"

/* Looks a name up; false, having logged it, if there is no such user or it is root. */
MUST_USE bool privileges_find_user(const char *name, struct privileges_user *out);

/* No core file and no debugger gets at this process's memory (promise 7). */
MUST_USE bool privileges_hide_memory(void);

/* Is an empty root allowed to this process (CAP_SYS_CHROOT)? */
bool privileges_may_enter_nowhere(void);

/* An empty directory that has no name any more becomes the root; no file system needs to be
 * writable. False, having logged why: the root is as it was. */
MUST_USE bool privileges_enter_nowhere(void);

/* To another user, for good. Root only. */
MUST_USE bool privileges_drop(const struct privileges_user *user);

/* Signals a child that may have become this user by now (NULL, "": it stays what this process
 * is). Root does it as that user, so that no right to signal everybody is needed (CAP_KILL). */
void privileges_signal(pid_t pid, const char *user, int number);

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
