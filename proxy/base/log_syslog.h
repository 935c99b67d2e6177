/*
 * syslog's protocol (RFC 3164, as C libraries speak it to /dev/log) without
 * waiting: the C library's own syslog(3) sleeps until there is room. A
 * datagram for each message, or a stream where the server wants one. May be
 * called by several threads.
 */
#ifndef POSTERN_BASE_LOG_SYSLOG_H
#define POSTERN_BASE_LOG_SYSLOG_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

/* Longest name that stands before a message; what is longer is cut. */
#define LOG_SYSLOG_NAME_LIMIT 64

/* Sends a message with facility and severity in `priority` (RFC 3164 section 4.1.1) in the name
 * of a program, with this process's number or without. False: it is lost, and errno tells why.
 */
MUST_USE bool log_syslog_send(int priority, const char *name, bool with_pid, const char *text,
                              size_t length);

/* Closes the descriptor, which the next message opens again. */
void log_syslog_close(void);

#endif
