/*
 * Queries of the administration interface: what is taken, encoded again, is taken as the same;
 * what is refused leaves nothing behind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/admin/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVERYTHING ((1u << ADMIN_PARAMETERS) - 1)

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Every byte as "%HH"; returns the length. */
static size_t encode(const struct admin_query *query, char *out)
{
    size_t length = 0;
    for (int i = 0; i < ADMIN_PARAMETERS; i++) {
        if (!query->given[i])
            continue;
        length += (size_t)sprintf(out + length, "%s%s=", length > 0 ? "&" : "",
                                  admin_parameter_name((enum admin_parameter)i));
        for (const char *each = query->value[i]; *each; each++)
            length += (size_t)sprintf(out + length, "%%%02x", (unsigned char)*each);
    }
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char encoded[ADMIN_PARAMETERS * (3 * ADMIN_QUERY_VALUE_SIZE + 16)];
    static const struct admin_query nothing;
    struct admin_query query, again;
    char *text = malloc(size ? size : 1);
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    const char *why = admin_query_parse(text, size, EVERYTHING, &query);
    free(text);
    if (why) {
        require(memcmp(&query, &nothing, sizeof query) == 0);
        return 0;
    }
    require(admin_query_parse(encoded, encode(&query, encoded), EVERYTHING, &again) == NULL);
    for (int i = 0; i < ADMIN_PARAMETERS; i++)
        require(query.given[i] == again.given[i] &&
                strcmp(query.value[i], again.value[i]) == 0);
    return 0;
}
