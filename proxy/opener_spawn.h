/* Whom a program runs as, and its first steps, between fork() and execve(). */
#ifndef POSTERN_OPENER_SPAWN_H
#define POSTERN_OPENER_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"

#define OPENER_GROUP_LIMIT 64

struct opener_user {
    bool stay; /* nothing is changed */
    uid_t uid;
    gid_t gid;
    int group_count;
    gid_t groups[OPENER_GROUP_LIMIT];
};

/*
 * Looks up whom a backend's program is to run as. `root`: Postern was started by root, who
 * becomes anybody, but root itself only by that name. Anybody else runs programs as himself.
 * Returns false, with a phrase in *why, if it cannot be.
 */
MUST_USE bool opener_user_find(struct opener_user *out, const char *name, bool root,
                               const char **why);

struct opener_spawn {
    char *const *arguments; /* the first is the program's path */
    char *const *environment;
    int session; /* becomes standard input and output */
    int log;     /* becomes standard error */
    int status;  /* close-on-exec; gets the errno, an int, if it comes to nothing */
    const struct opener_user *user;
    pid_t opener; /* the program is told to end when this process dies */
};

/* In the child. Descriptors are above 2; no other one reaches the program. */
_Noreturn void opener_spawn_program(const struct opener_spawn *spawn);

#endif
