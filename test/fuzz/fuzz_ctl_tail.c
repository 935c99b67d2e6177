/* What posternctl prints of an event: one line, and nothing that could move a terminal's
 * cursor, whatever a server sends. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/ctl/tail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *in = malloc(size ? size : 1), *text = NULL;
    size_t length = 0;
    require(in != NULL);
    if (size)
        memcpy(in, data, size);
    FILE *out = open_memstream(&text, &length);
    require(out != NULL);
    bool good = ctl_tail_print(out, in, size);
    require(fclose(out) == 0);
    require(good == (length > 0));
    for (size_t i = 0; i < length; i++)
        require((unsigned char)text[i] >= ' ' || (text[i] == '\n' && i + 1 == length));
    free(text);
    free(in);
    return 0;
}
