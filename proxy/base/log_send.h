/* Lines of the log on their way out; called by log.c only. */
#ifndef POSTERN_BASE_LOG_SEND_H
#define POSTERN_BASE_LOG_SEND_H

#include <sys/types.h>

#include "proxy/base/log.h"

/* Gives a line with its line end, after what is held back; what is lost is counted. */
void log_send(enum log_level level, const char *line, size_t length);

/* Holds it back, as log_end_soon() says; at most LOG_LINE_LIMIT bytes. */
void log_send_soon(enum log_level level, const char *line, size_t length);

/* Gives it before what is held back. False: it is lost, and not counted. */
MUST_USE bool log_send_now(enum log_level level, const char *line, size_t length);

/* Lost records that no line has told of yet; and that so many of them have been told. */
uint64_t log_untold(void);
void log_has_told(uint64_t count);

/* This process's number, which the kernel is asked for once. */
pid_t log_process(void);

/* Returns whether log_use_relay() has named a descriptor. */
bool log_is_relayed(void);

#endif
