/*
 * Descriptors that lines of the log are written to, none of which is ever
 * waited for: pipes and terminals are made non-blocking, sockets are written
 * to with MSG_DONTWAIT. A regular file takes what it is given, or has no room.
 */
#ifndef POSTERN_BASE_LOG_OUTPUT_H
#define POSTERN_BASE_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

/*
 * Makes sure that writing to standard error does not wait. The flag for that is shared with all
 * who have the same pipe or terminal from the same open(), so that it is opened again (which
 * needs /proc), for this process and its children. Where that is not allowed, the shared flag
 * is set, until log_output_give_back().
 */
void log_output_take_stderr(void);
void log_output_give_back(void);

/* Opens a file for appending, made with mode 0640 if it is not there. A FIFO needs no reader.
 * -1: errno tells. */
MUST_USE int log_output_open(const char *path);

/* Writes a line with its line end. False: not, or not all of it; then the next line on any
 * descriptor begins with a line end. */
MUST_USE bool log_output_write(int fd, const char *line, size_t length);

#endif
