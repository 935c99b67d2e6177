/*
 * The listening sockets, which the master owns and keeps from one generation
 * of reactors to the next, so that nothing is refused in between. Each address
 * has one socket for each reactor (SO_REUSEPORT: the kernel shares the
 * connections out), or the one that a supervisor has passed. 0.0.0.0 that was
 * passed serves a listener for [::], too.
 */
#ifndef POSTERN_LISTENERS_H
#define POSTERN_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"

struct listeners;

MUST_USE struct listeners *listeners_new(void);
/* Closes all. */
void listeners_free(struct listeners *listeners);

/* Takes over what a supervisor passed (LISTEN_FDS); false, having logged it, if that is no
 * socket. One that cannot be served makes listeners_open() fail if it is for a listener. */
MUST_USE bool listeners_adopt(struct listeners *listeners);

/* All sockets that are open, for the program that takes over; writes the address that it is
 * for.
 */
size_t listeners_count(const struct listeners *listeners);
int listeners_socket(const struct listeners *listeners, size_t index,
                     char address[static ADDRESS_TEXT_SIZE]);

/* One of the former program's, which is the listeners' from now on. False: it does not listen,
 * or no memory. */
MUST_USE bool listeners_inherit(struct listeners *listeners, int fd,
                                const struct address *address);

/*
 * Opens what `config` names and is not open yet. False, having logged each that failed; the
 * ones that were open before are as they were. Of those that share an address with others only
 * the first listens: the kernel would at once give the rest their share of the connections.
 */
MUST_USE bool listeners_open(struct listeners *listeners, const struct config *config);

/* All of them listen from now on. False, having logged why, and nothing has changed. */
MUST_USE bool listeners_begin(struct listeners *listeners);

/* Closes all of them: nothing more is accepted. */
void listeners_close(struct listeners *listeners);

/* Closes what `config` does not name (NULL: nothing is known to be superfluous), and what does
 * not listen. */
void listeners_trim(struct listeners *listeners, const struct config *config);

/*
 * The sockets of `listen` that reactor `index` of `count` serves, or those of them that listen
 * already: writes them to `out` (room for `size`) and returns how many there are. They stay the
 * listeners'.
 */
size_t listeners_of(const struct listeners *listeners, const struct config_listen *listen,
                    bool only_listening, unsigned index, unsigned count, int *out, size_t size);

#endif
