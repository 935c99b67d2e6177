/* What a supervisor such as systemd is told, and what it passes; without libsystemd it is told
 * the same, and passes no sockets. */
#ifndef POSTERN_SUPERVISOR_H
#define POSTERN_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

/* The sockets passed by LISTEN_FDS: how many, and the first descriptor. They are made
 * close-on-exec and non-blocking, and the variables are unset. */
int supervisor_sockets(int *first);

void supervisor_ready(void);
void supervisor_reloading(void);
void supervisor_stopping(void);

/* How often it wants to hear supervisor_alive(); 0: never. */
uint64_t supervisor_watchdog_ms(void);
void supervisor_alive(void);

/* Was it built with libsystemd? */
bool supervisor_supported(void);

#endif
