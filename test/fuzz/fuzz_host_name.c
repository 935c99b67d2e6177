/* Names of hosts: one that is taken stays one when it is cut at a dot, and is nothing but it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/host_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    char *name = malloc(size + 1);
    require(name != NULL);
    if (size)
        memcpy(name, data, size);
    bool valid = host_name_valid(name, size);
    name[size] = '\0';
    if (valid) {
        require(size <= HOST_NAME_LIMIT && strspn(name, letters) == size);
        require(!strstr(name, "..") && !strstr(name, "-.") && !strstr(name, ".-"));
        const char *dot = strchr(name, '.');
        require(!dot || host_name_valid(dot + 1, strlen(dot + 1)));
    }
    free(name);
    return 0;
}
