/*
 * Lines of the log as entries of systemd's journal: a line's fields become the
 * entry's, as POSTERN_CLIENT and the like, in the journal's native protocol
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL). No library, one datagram for each.
 */
#ifndef POSTERN_BASE_LOG_JOURNAL_H
#define POSTERN_BASE_LOG_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Room for the entry of any line. */
#define LOG_JOURNAL_ENTRY_SIZE 16384

/*
 * The entry of a line in log.h's text format, without its line end: PRIORITY by its level,
 * MESSAGE without the fields that the journal has by itself, and every field. Any bytes are
 * safe: those of a value that could end it are masked. Returns its length. Pure.
 */
size_t log_journal_format(const char *line, size_t length,
                          char out[static LOG_JOURNAL_ENTRY_SIZE]);

/* Does anybody take entries? False: errno tells. */
MUST_USE bool log_journal_exists(void);

/* False, and errno tells: EAGAIN, there is no room for it now; EMSGSIZE, nor will there be;
 * otherwise there is nobody. */
MUST_USE bool log_journal_send(const char *line, size_t length);

#endif
