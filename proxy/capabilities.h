/* The capabilities of a process that is to keep a few (capabilities(7)), by the kernel's own
 * calls. */
#ifndef POSTERN_CAPABILITIES_H
#define POSTERN_CAPABILITIES_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

/* Sets of them: bits by number. */
#define CAPABILITY(number) (UINT64_C(1) << (number))

/* Those that this process may use. */
uint64_t capabilities_permitted(void);

/* Makes exactly these usable, of those that are permitted, and gives up the others for good.
 * False: errno. */
MUST_USE bool capabilities_keep(uint64_t set);

/* Does without these, of those that are permitted, until the next call; 0 uses all again.
 * False: errno. */
MUST_USE bool capabilities_suspend(uint64_t set);

/* What is executed from here on, whoever owns it, gains no others than these. False: errno. */
MUST_USE bool capabilities_bound(uint64_t set);

/* The name of the first in a set: "CAP_NET_ADMIN"; "none" of an empty one. */
const char *capabilities_name(uint64_t set);

#endif
