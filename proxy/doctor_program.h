/* A backend that is a program, started by the doctor as the opener would start it. */
#ifndef POSTERN_DOCTOR_PROGRAM_H
#define POSTERN_DOCTOR_PROGRAM_H

#include <stdbool.h>

#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/opener_message.h"

struct doctor_program;

/*
 * Starts the program of the backend that the order names and sets *descriptor to a socket to
 * it, which is the caller's. NULL, with a phrase in *why: it cannot be executed.
 */
MUST_USE struct doctor_program *doctor_program_start(const struct config *config, bool root,
                                                     const struct opener_order *order,
                                                     int *descriptor, const char **why);

/* Ends it, at the worst by a signal. NULL is allowed. */
void doctor_program_end(struct doctor_program *program);

#endif
