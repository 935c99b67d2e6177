/*
 * A file of fingerprints: whatever is in it, it is refused with the place, or each of its
 * certificates is found under a name that could be a login, which stands in its line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"
#include "proxy/fingerprints.h"

#define DIGITS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The plain form that a line begins with; another form is not looked at. */
static bool begins_plainly(const char *line, size_t length, char out[static DIGITS + 1])
{
    if (length <= DIGITS || (line[DIGITS] != ' ' && line[DIGITS] != '\t'))
        return false;
    memcpy(out, line, DIGITS);
    out[DIGITS] = '\0';
    return strspn(out, "0123456789abcdef") == DIGITS;
}

static void check_line(const struct fingerprints *fingerprints, const char *line, size_t length)
{
    char digits[DIGITS + 1];
    if (!begins_plainly(line, length, digits))
        return;
    const char *name = fingerprints_find(fingerprints, digits);
    require(name && sasl_name_valid(name, strlen(name)));
    require(memmem(line + DIGITS, length - DIGITS, name, strlen(name)));
}

static void check_lines(const struct fingerprints *fingerprints, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        check_line(fingerprints, text + at, length);
        at += length + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[FINGERPRINTS_ERROR_SIZE] = "";
    if (size == 0)
        return 0;
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
    require(file);
    struct fingerprints *fingerprints = fingerprints_read_lines(file, "list", error);
    if (fingerprints)
        check_lines(fingerprints, (const char *)data, size);
    else
        require(strncmp(error, "list:", 5) == 0);
    require(!fingerprints || !fingerprints_find(fingerprints, "no digits"));
    fingerprints_free(fingerprints);
    fclose(file);
    return 0;
}
