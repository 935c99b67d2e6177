/*
 * A program's line from the configuration, and hostile values in it. The input is the line, a
 * NUL, and one value for every place: each argument but those with a value in them is the same
 * whatever the value, and none becomes an option.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/program_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void fill(const char **values, const char *value)
{
    for (size_t i = 0; i < PROGRAM_VALUE_COUNT; i++)
        values[i] = value;
}

static void check(const struct program_line *line, const char *value)
{
    static struct program_arguments plain, hostile;
    const char *values[PROGRAM_VALUE_COUNT];
    char why[PROGRAM_WHY_SIZE];

    fill(values, "v");
    require(program_line_expand(line, values, &plain, why));
    require(plain.arguments[0][0] == '/' && !plain.arguments[line->words]);
    fill(values, value);
    if (!program_line_expand(line, values, &hostile, why)) {
        require(strnlen(why, sizeof why) < sizeof why);
        return;
    }
    require(strcmp(plain.arguments[0], hostile.arguments[0]) == 0);
    for (unsigned i = 0; i < line->words; i++)
        require((hostile.arguments[i][0] == '-') == (plain.arguments[i][0] == '-'));
    require(!hostile.arguments[line->words]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 2);
    struct program_line line;
    char why[PROGRAM_WHY_SIZE];
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    if (program_line_parse(text, &line, why))
        check(&line, text + strlen(text) + (strlen(text) < size));
    else
        require(why[0] && strnlen(why, sizeof why) < sizeof why);
    free(text);
    return 0;
}
