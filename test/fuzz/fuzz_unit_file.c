/* A unit of systemd. What is found in it is a part of it, and a drop-in that says nothing
 * changes nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/unit_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char silent[] = "\n# CapabilityBoundingSet=CAP_KILL\n[Service]\nType=notify\n";
    static struct unit_file unit, before;
    char *text = malloc(size + 1);
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    memset(&unit, 0, sizeof unit);
    unit_file_read(&unit, text, size);
    require(memchr(unit.configuration, '\0', sizeof unit.configuration) != NULL);
    require(memchr(unit.writable, '\0', sizeof unit.writable) != NULL);
    require(memmem(text, size + 1, unit.configuration, strlen(unit.configuration)) != NULL);
    require(unit.bounded || unit_file_allows(&unit, UINT64_MAX));
    require(unit.only_writes || unit_file_may_write(&unit, "/x"));
    before = unit;
    unit_file_read(&unit, silent, sizeof silent - 1);
    require(memcmp(&before, &unit, sizeof unit) == 0);
    free(text);
    return 0;
}
