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
    char safe[SMTP_HELO_NAME_SIZE];
    bool is_safe = smtp_helo_name_make_safe(name, length, safe);
    require(is_safe == (length >= 1 && length <= SMTP_DOMAIN_LIMIT));
    if (is_safe) {
        require(smtp_helo_name_valid(safe, length) && strlen(safe) == length);
        for (size_t i = 0; i < length; i++)
            require(safe[i] == name[i] ||
                    (safe[i] == '?' && (name[i] <= ' ' || name[i] > '~')));
    }
    if (!smtp_helo_name_valid(name, length))
        return;
    require(memcmp(safe, name, length) == 0);
    require(length >= 1 && length <= SMTP_DOMAIN_LIMIT);
    for (size_t i = 0; i < length; i++)
        require(name[i] > ' ' && name[i] < 127);
}

/* Written out again, it is the same but for the case of LAST and the blanks before it. */
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
    size_t digits = strcspn(again, " ");
    require((size_t)again_length <= length && memcmp(again, arguments, digits) == 0);
    if (!last)
        require(digits == length);
    else
        require(strncasecmp(arguments + length - 4, "LAST", 4) == 0);
    for (size_t i = digits; last && i < length - 4; i++)
        require(arguments[i] == ' ');
}

/* The one form of a line is not longer, has no second form, and means the same. */
static void check_canonical(const struct smtp_command *command, const char *line, size_t length)
{
    struct smtp_command again;
    char *out = malloc(length ? length : 1), *twice = malloc(length ? length : 1);
    require(out != NULL && twice != NULL);
    size_t written = smtp_command_canonical(command, line, out);
    require(written <= length);
    enum smtp_command_status status = smtp_command_parse(out, written, &again);
    require(status == SMTP_COMMAND_OK || has_control(line, length));
    require(again.verb == command->verb && again.verb_length == command->verb_length);
    require(again.arguments_length == command->arguments_length &&
            memcmp(again.arguments, command->arguments, again.arguments_length) == 0);
    require(smtp_command_canonical(&again, out, twice) == written &&
            memcmp(out, twice, written) == 0);
    free(out);
    free(twice);
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
    check_canonical(&command, line, size);
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
