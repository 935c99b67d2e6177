/* The system calls that a process which talks to the network may still make, once it serves: a
 * filter in the kernel (seccomp(2)), by libseccomp. */
#ifndef POSTERN_SYSTEM_CALLS_H
#define POSTERN_SYSTEM_CALLS_H

#include <stdbool.h>

#include "proxy/base/compiler.h"

/* Was the program built with libseccomp? */
bool system_calls_known(void);

/* From here on, for good: what is open can be read, written and handed over, and there are
 * sockets to addresses of the Internet; no file is opened or looked for, no program executed,
 * no process made or signalled, no memory made executable. What else is called fails with
 * EPERM. After no_new_privs. False: errno; nothing is filtered. */
MUST_USE bool system_calls_limit(void);

#endif
