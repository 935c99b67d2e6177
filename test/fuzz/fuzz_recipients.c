/*
 * A file of recipients: whatever is in it, it is refused, or each of its entries is found when
 * it is asked for and nobody else's domain is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/recipients.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool includes(struct recipients *recipients, const char *local_part, const char *domain,
                     size_t length)
{
    struct smtp_forward_path path = {local_part, strlen(local_part), domain, length};
    return recipients_include(recipients, &path);
}

/* Each line that is nothing but a domain lets everybody there in. */
static void check_domains(struct recipients *recipients, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t line = end ? (size_t)(end - text) - at : size - at;
        if (smtp_domain_valid(text + at, line))
            require(includes(recipients, "Anybody", text + at, line));
        at += line + 1;
    }
}

/* Does it stand there in any case of its letters? */
static bool mentions(const uint8_t *data, size_t size, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= size; i++)
        if (strncasecmp((const char *)data + i, word, length) == 0)
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char nobody[] = "no.such.domain.in.any.corpus";
    char error[RECIPIENTS_ERROR_SIZE] = "";
    if (size == 0)
        return 0;
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
    struct recipients *recipients = recipients_new();
    require(file && recipients);
    if (recipients_add_lines(recipients, file, "list", error)) {
        check_domains(recipients, (const char *)data, size);
        require(mentions(data, size, "corpus") ||
                !includes(recipients, "a", nobody, sizeof nobody - 1));
    } else {
        require(strncmp(error, "list:", 5) == 0);
    }
    recipients_free(recipients);
    fclose(file);
    return 0;
}
