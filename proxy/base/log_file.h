/*
 * A log of its own: the file that log.h's lines go to where the destination
 * is a file. One process, the master, has it open and opens it again when it
 * has been renamed; the others leave their lines with it. One thread.
 */
#ifndef POSTERN_BASE_LOG_FILE_H
#define POSTERN_BASE_LOG_FILE_H

#include <stdbool.h>

#include "proxy/base/compiler.h"

/* Opens it, made with mode 0640 if it is not there, in place of another. False, having logged
 * why, after `place` in the configuration: all is as it was. */
MUST_USE bool log_file_use(const char *path, const char *place);

/* Opens the same path again. False: no file is in use, or it stays with the old one, having
 * logged why. */
bool log_file_reopen(const char *place);

#endif
