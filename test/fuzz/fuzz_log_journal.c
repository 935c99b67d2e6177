/*
 * Lines for the journal, which any process of ours may have sent: every line of the entry is a
 * field whose name is ours, and there is one MESSAGE.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log_journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool begins(const char *line, const char *name)
{
    return strncmp(line, name, strlen(name)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char entry[LOG_JOURNAL_ENTRY_SIZE + 1];
    unsigned messages = 0;
    size_t length = log_journal_format((const char *)data, size, entry);
    require(length <= LOG_JOURNAL_ENTRY_SIZE);
    entry[length] = '\0';
    for (char *line = entry, *end; length < LOG_JOURNAL_ENTRY_SIZE && *line; line = end + 1) {
        end = strchr(line, '\n');
        require(end != NULL);
        messages += begins(line, "MESSAGE=");
        require(begins(line, "MESSAGE=") || begins(line, "PRIORITY=") ||
                begins(line, "POSTERN_") || begins(line, "SYSLOG_IDENTIFIER=postern\n") ||
                begins(line, "SYSLOG_FACILITY=2\n"));
    }
    require(messages == 1 || length == LOG_JOURNAL_ENTRY_SIZE);
    return 0;
}
