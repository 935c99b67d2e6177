/* One request over the administration socket. */
#ifndef POSTERN_CTL_HTTP_H
#define POSTERN_CTL_HTTP_H

#include <stddef.h>

struct ctl_reply {
    int status; /* HTTP's; 0: there is no answer, and standard error says why */
    char *text; /* with a NUL behind it; to be freed */
    size_t length;
};

/* Connects; -1, and standard error says why not. */
int ctl_connect(const char *socket_path);

/* `target` is a path with its query, well encoded. */
struct ctl_reply ctl_request(const char *socket_path, const char *method, const char *target);

/* Appends "name=value" to a target, behind "?" or "&", encoded. Cuts nothing: 0 if there is no
 * room. */
int ctl_target_add(char *target, size_t size, const char *name, const char *value);

#endif
