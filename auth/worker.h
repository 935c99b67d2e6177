/*
 * The auth worker: a process that runs one PAM conversation at a time.
 *
 * The master starts it by executing its own binary anew, so that it has none
 * of the master's memory (no key, no client's data). It knows three
 * descriptors: 0 its socket pair, 1 and 2 the log. It never sleeps for a
 * failed login: the delay that modules wish for travels back in the verdict.
 * It ends when the other side of its socket is closed.
 *
 * A worker that a PAM module has spoiled (health.h) says so with its verdict, and gets no more
 * requests.
 */
#ifndef POSTERN_AUTH_WORKER_H
#define POSTERN_AUTH_WORKER_H

struct auth_worker_options {
    const char *service;                 /* PAM service */
    const char *configuration_directory; /* for pam_start_confdir(); NULL: the system's */
    const char *user;                    /* become this user, with all its groups; NULL: stay */
};

/*
 * Serves requests on `socket` until its other side closes. Returns the exit status: 0 then, 1
 * (the cause is logged) for a malformed request or where it could not set itself up.
 *
 * Takes the whole process over: standard input becomes /dev/null, every descriptor but the
 * socket and 1 and 2 is closed, signals of a terminal do nothing and SIGTERM ends it, no core
 * file is left, and the end of its parent is its own. The log is configured before.
 */
int auth_worker_run(int socket, const struct auth_worker_options *options);

#endif
