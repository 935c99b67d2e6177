/* The client's reader of JSON: looks into whatever it has taken, to the last value, and never
 * beyond the text. */
#include <stdlib.h>
#include <string.h>

#include "proxy/ctl/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void walk(struct ctl_value value, const char *text, size_t size)
{
    char decoded[16];
    struct ctl_value rest = value, each, key;
    require(value.at >= text && value.at + value.length <= text + size);
    memset(decoded, 'x', sizeof decoded);
    ctl_json_text(value, decoded, sizeof decoded);
    require(memchr(decoded, '\0', sizeof decoded) != NULL);
    (void)ctl_json_number(value);
    (void)ctl_json_member(value, "user");
    if (*value.at != '{' && *value.at != '[')
        return;
    while ((each = ctl_json_next(&rest, &key)).length > 0) {
        require((key.length > 0) == (*value.at == '{'));
        walk(each, text, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1);
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    struct ctl_value value = ctl_json_parse(text, size);
    if (value.length > 0)
        walk(value, text, size);
    free(text);
    return 0;
}
