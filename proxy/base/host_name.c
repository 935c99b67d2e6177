/* Looks at one label after the other. Called with what the DNS and the configuration say. */
#include "proxy/base/host_name.h"

#include <string.h>

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool label_valid(const char *label, size_t length)
{
    if (length == 0 || length > HOST_NAME_LABEL_LIMIT || label[0] == '-' ||
        label[length - 1] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_letter(label[i]) && !is_digit(label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    return true;
}

static bool is_number(const char *label, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_digit(label[i]))
            return false;
    return true;
}

bool host_name_valid(const char *name, size_t length)
{
    const char *label = name, *end = name + length;
    if (length == 0 || length > HOST_NAME_LIMIT)
        return false;
    for (;;) {
        const char *dot = memchr(label, '.', (size_t)(end - label));
        size_t label_length = (size_t)((dot ? dot : end) - label);
        if (!label_valid(label, label_length))
            return false;
        if (!dot)
            return !is_number(label, label_length);
        label = dot + 1;
    }
}
