/*
 * The host of a request: what is taken for our own begins as one of our names does and ends
 * there, or in a port; the name of the socket is taken by those alone who asked for it.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/admin/authority.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool begins(const char *text, size_t length, const char *with)
{
    return length >= strlen(with) && strncasecmp(text, with, strlen(with)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1);
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    bool own = admin_authority_is_own(text, size, false);
    bool with_name = admin_authority_is_own(text, size, true);
    require(with_name == own || (with_name && size == strlen(ADMIN_AUTHORITY_NAME) &&
                                 begins(text, size, ADMIN_AUTHORITY_NAME)));
    require(!own || begins(text, size, "localhost") || begins(text, size, "127.") ||
            begins(text, size, "["));
    require(!own || text[size - 1] == ']' || isdigit((unsigned char)text[size - 1]) ||
            size == strlen("localhost"));
    for (size_t i = 0; own && i < size; i++)
        require(isalnum((unsigned char)text[i]) || strchr(".:[]", text[i]));
    bool direct = admin_authority_is_direct(text, size, "mail.example.org");
    require(direct || !own);
    require(!direct || text[0] == '[' || !memchr(text, '.', size) ||
            isdigit((unsigned char)text[0]) || begins(text, size, "mail"));
    for (size_t i = 0; direct && i < size; i++)
        require(isalnum((unsigned char)text[i]) || (text[i] && strchr(".:[]-_", text[i])));
    free(text);
    return 0;
}
