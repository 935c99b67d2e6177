/*
 * MAIL's arguments: whatever a client writes, no lenient reader finds an AUTH parameter in what
 * is sent on; what is sent on is the input with pieces left out, and passes once more
 * unchanged, and without the parameters that a backend does not know. Told a login, it ends in
 * that.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp/command.h"
#include "proxy/smtp/parameters.h"
#include "test/unit/lenient_mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Is `part` the whole with bytes left out? */
static bool is_subsequence(const char *part, size_t part_length, const char *whole,
                           size_t length)
{
    size_t found = 0;
    for (size_t i = 0; i < length && found < part_length; i++)
        found += part[found] == whole[i];
    return found == part_length;
}

static void check_passed(const char *in, size_t length, const char *out, size_t out_length)
{
    require(out_length <= length && is_subsequence(out, out_length, in, length));
    require(lenient_auth_reader(out, out_length) == NULL);
    require(!memchr(out, '\0', out_length) && !memchr(out, '\t', out_length));

    size_t again_length = 0;
    char *again = malloc(out_length);
    require(again != NULL);
    require(smtp_mail_strip_auth(out, out_length, again, &again_length) == SMTP_MAIL_OK);
    require(again_length == out_length && memcmp(again, out, out_length) == 0);
    free(again);
}

/* Nor is there one where parameters are left out that a backend does not know. */
static void check_left_out(const char *in, size_t length)
{
    size_t out_length = 0;
    char *out = malloc(length);
    require(out != NULL);
    uint32_t needed =
        smtp_parameters_leave_out(in, length, "FROM:", UINT32_MAX, out, &out_length);
    check_passed(in, length, out, out_length);
    require(smtp_parameters_leave_out(out, out_length, "FROM:", UINT32_MAX, out, &out_length) ==
            needed);
    free(out);
}

/* The same with a login behind: the last bytes of the input, if it has so many. */
static void check_login(const char *in, size_t length, const char *stripped,
                        size_t stripped_length)
{
    char login[9] = "alice", *out = malloc(SMTP_MAIL_ARGUMENTS_LIMIT);
    size_t out_length = 0;
    require(out != NULL);
    if (length >= sizeof login)
        memcpy(login, in + length - (sizeof login - 1), sizeof login - 1);
    enum smtp_mail_status status = smtp_mail_set_auth(in, length, login, out, &out_length);
    if (status == SMTP_MAIL_OK) {
        require(out_length > stripped_length + 6 && out_length <= SMTP_MAIL_ARGUMENTS_LIMIT);
        require(memcmp(out, stripped, stripped_length) == 0);
        require(memcmp(out + stripped_length, " AUTH=", 6) == 0);
        require(!memchr(out + stripped_length + 1, ' ', out_length - stripped_length - 1));
    } else {
        require(out_length == 0 && (login[0] == '\0' || length > 1900));
    }
    free(out);
}

/* The form of what is no more than that leaves out blanks alone, and is its own. */
static void check_canonical(const char *in, size_t length, const char *word)
{
    char *out = malloc(length ? length : 1), *again = malloc(length ? length : 1);
    require(out != NULL && again != NULL);
    size_t out_length = smtp_envelope_canonical(in, length, word, out);
    require(out_length <= length && is_subsequence(out, out_length, in, length));
    size_t blanks = 0, kept = 0;
    for (size_t i = 0; i < length; i++)
        blanks += in[i] == ' ';
    for (size_t i = 0; i < out_length; i++)
        kept += out[i] == ' ';
    require(out_length == 0 || length - out_length == blanks - kept);
    if (out_length > 0)
        require(smtp_envelope_canonical(out, out_length, word, again) == out_length &&
                memcmp(out, again, out_length) == 0);
    free(out);
    free(again);
}

/* The address lies within what it is read from, and has no bracket of the path. */
static void check_address(const char *in, size_t length, const char *word)
{
    size_t address_length = length + 1;
    const char *address = smtp_envelope_address(in, length, word, &address_length);
    require(address >= in && address_length <= length &&
            address + address_length <= in + length);
    if (smtp_path_end(in, length, word) > 0 && address_length > 0)
        require(address[0] != '<' && address[address_length - 1] != '>');
}

/* In allocations of their own size: over-reads and over-writes are seen. */
static void check(const char *in, size_t length)
{
    char *out = malloc(length ? length : 1);
    size_t out_length = 1;
    require(out != NULL);
    check_canonical(in, length, "FROM:");
    check_canonical(in, length, "TO:");
    check_address(in, length, "FROM:");
    check_address(in, length, "TO:");
    if (smtp_mail_strip_auth(in, length, out, &out_length) == SMTP_MAIL_OK) {
        check_passed(in, length, out, out_length);
        check_left_out(out, out_length);
        check_login(in, length, out, out_length);
    } else {
        require(out_length == 0);
    }
    free(out);
}

/* As it is, and behind "FROM:<", which a fuzzer need not find again each time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char from[] = "FROM:<";
    const size_t prefix = sizeof from - 1;
    char *in = malloc(prefix + size);
    require(in != NULL);
    memcpy(in, from, prefix);
    if (size)
        memcpy(in + prefix, data, size);
    check(in, prefix + size);
    if (size) {
        memmove(in, in + prefix, size);
        char *exact = realloc(in, size);
        require(exact != NULL);
        in = exact;
        check(in, size);
    }
    free(in);
    return 0;
}
