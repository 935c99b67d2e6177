/* A line of a PAM service file. What is found in it is a part of it, and whatever stands behind
 * the path, or in a comment, changes nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/doctor_pam_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_path(const struct doctor_pam_line *line, const char *text, size_t size)
{
    bool names = line->kind == DOCTOR_PAM_MODULE || line->kind == DOCTOR_PAM_INCLUDE;
    size_t length = strnlen(line->path, sizeof line->path);
    require(length < sizeof line->path && names == (length > 0));
    require(!names || memmem(text, size, line->path, length));
    require(!memchr(line->path, '#', length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char comment[] = " # more";
    struct doctor_pam_line line, longer;
    char *text = malloc(size + sizeof comment);
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    memcpy(text + size, comment, sizeof comment);
    doctor_pam_line_parse(text, size, &line);
    check_path(&line, text, size);
    doctor_pam_line_parse(text, size + sizeof comment - 1, &longer);
    if (line.kind == DOCTOR_PAM_MODULE || line.kind == DOCTOR_PAM_EMPTY)
        require(memcmp(&line, &longer, sizeof line) == 0);
    free(text);
    return 0;
}
