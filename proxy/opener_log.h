/*
 * Standard error of a backend's programs: a pipe whose lines become records,
 * with the backend's name. All programs of one backend share it; what they
 * write in one piece of a line stays one.
 */
#ifndef POSTERN_OPENER_LOG_H
#define POSTERN_OPENER_LOG_H

#include <event2/event.h>

#include "proxy/base/compiler.h"

struct opener_log;

/* `name` must stay. NULL: the cause is logged. */
MUST_USE struct opener_log *opener_log_new(struct event_base *base, const char *name);

/* The end that programs write to; close-on-exec, and it stays the log's. */
int opener_log_descriptor(const struct opener_log *log);

/* Writes down what is left. NULL is allowed. */
void opener_log_free(struct opener_log *log);

#endif
