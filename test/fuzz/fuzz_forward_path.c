/*
 * RCPT's arguments: whatever a client writes, what passes is sent to the domain that was found
 * by every lenient reader, and passes again as a bare address.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/command.h"
#include "test/unit/lenient_forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The bytes in an allocation of their own size: over-reads are seen. */
static enum smtp_forward_path_status parse_exactly(const char *in, size_t length)
{
    struct smtp_forward_path path;
    char *exact = malloc(length ? length : 1);
    require(exact != NULL);
    if (length)
        memcpy(exact, in, length);
    enum smtp_forward_path_status status = smtp_forward_path_parse(exact, length, &path);
    require((unsigned)status < SMTP_FORWARD_PATH_COUNT);
    free(exact);
    return status;
}

static void check_passed(const char *in, size_t length)
{
    struct smtp_forward_path path, again;
    require(smtp_forward_path_parse(in, length, &path) == SMTP_FORWARD_PATH_OK);
    require(strlen(in) == length && lenient_readers_agree(in, &path));
    if (!path.domain)
        return;
    char address[1024];
    require(path.local_part_length < 300 && path.domain_length < 300);
    memcpy(address, path.local_part, path.local_part_length);
    address[path.local_part_length] = '@';
    memcpy(address + path.local_part_length + 1, path.domain, path.domain_length);
    size_t whole = path.local_part_length + 1 + path.domain_length;
    /* what needed quotes for its dots passes with them only */
    if (smtp_forward_path_parse_address(address, whole, &again) == SMTP_FORWARD_PATH_OK)
        require(again.domain_length == path.domain_length);
    else
        require(path.local_part[-1] == '"');
}

/* What an mx judges: the form that the backend gets, in which nothing has changed its meaning.
 */
static void check_form(const char *in, size_t length)
{
    char form[LENIENT_FORWARD_SIZE] = "";
    size_t form_length = smtp_envelope_canonical(in, length, "TO:", form);
    if (form_length > 0 && parse_exactly(form, form_length) == SMTP_FORWARD_PATH_OK)
        check_passed(form, form_length);
}

/* `in` has a NUL behind it. */
static void check(const char *in, size_t length)
{
    check_form(in, length);
    if (parse_exactly(in, length) == SMTP_FORWARD_PATH_OK)
        check_passed(in, length);
}

/* As it is, and between "TO:<" and "@b.c>", which a fuzzer need not find again each time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char to[] = "TO:<", domain[] = "@b.c>";
    char text[LENIENT_FORWARD_SIZE] = "";
    if (size > 2048)
        return 0;
    if (size)
        memcpy(text, data, size);
    check(text, size);
    memcpy(text, to, sizeof to - 1);
    if (size)
        memcpy(text + sizeof to - 1, data, size);
    memcpy(text + sizeof to - 1 + size, domain, sizeof domain);
    check(text, sizeof to - 1 + size + sizeof domain - 1);
    return 0;
}
