/*
 * Command lines, names behind EHLO and BDAT's arguments: no control character passes, arguments
 * lie within the line, and a chunk's size is what its digits say.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/smtp/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool has_control(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)text[i] < 32 && text[i] != '\t') || text[i] == 127)
            return true;
    return false;
}

/* The line begins with just the verb's name, unless it is unknown. */
static void check_verb(const char *line, size_t length, enum smtp_verb verb)
{
    const char *name = smtp_verb_name(verb);
    const char *space = memchr(line, ' ', length);
    size_t word = space ? (size_t)(space - line) : length;
    require(verb < SMTP_VERB_COUNT);
    if (strcmp(name, "unknown") != 0)
        require(word == strlen(name) && strncasecmp(line, name, word) == 0);
    if (word == strlen("XCLIENT") && strncasecmp(line, "XCLIENT", word) == 0)
        require(verb == SMTP_VERB_IDENTITY);
}

static void check_name(const char *name, size_t length)
{
    if (!smtp_helo_name_valid(name, length))
        return;
    require(length >= 1 && length <= SMTP_DOMAIN_LIMIT);
    for (size_t i = 0; i < length; i++)
        require(name[i] > ' ' && name[i] < 127);
}

/* Written out again, it is the same but for the case of LAST. */
static void check_chunk(const char *arguments, size_t length)
{
    uint64_t size = 0;
    bool last = false;
    char again[32];
    if (!smtp_bdat_parse(arguments, length, &size, &last))
        return;
    int again_length =
        snprintf(again, sizeof again, "%llu%s", (unsigned long long)size, last ? " LAST" : "");
    require(size <= SMTP_BDAT_SIZE_LIMIT);
    require((size_t)again_length == length && strncasecmp(again, arguments, length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_command command;
    char *line = malloc(size ? size : 1);
    require(line != NULL);
    if (size)
        memcpy(line, data, size);

    enum smtp_command_status status = smtp_command_parse(line, size, &command);
    require((status == SMTP_COMMAND_BAD_BYTE) == has_control(line, size));
    require(command.arguments >= line && command.arguments <= line + size);
    require(command.arguments_length <= (size_t)(line + size - command.arguments));
    check_verb(line, size, command.verb);
    check_name(command.arguments, command.arguments_length);
    check_chunk(command.arguments, command.arguments_length);
    check_name(line, size);
    check_chunk(line, size);
    free(line);
    return 0;
}
