/* The names of hosts (RFC 952, RFC 1123 section 2.1), as a mail server takes them. Pure. */
#ifndef POSTERN_BASE_HOST_NAME_H
#define POSTERN_BASE_HOST_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* RFC 1035 section 2.3.4, in bytes, as text without the root's dot. */
#define HOST_NAME_LIMIT       253
#define HOST_NAME_LABEL_LIMIT 63

/*
 * Returns true for labels of letters, digits, hyphens and underscores (which names in use
 * have), none of which is empty, too long, or begins or ends with a hyphen. The last one is not
 * of digits alone, as addresses end so. No dot is at the end.
 */
bool host_name_valid(const char *name, size_t length);

#endif
