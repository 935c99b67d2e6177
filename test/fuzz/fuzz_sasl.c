/*
 * SASL exchanges: the first byte chooses the mechanism and whether the first line is an initial
 * response, each further line answers a challenge.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool all_zero(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Takes the next line off the input, as an allocation of its own size: over-reads are seen. */
static char *next_line(const uint8_t **data, size_t *size, size_t *length)
{
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    *length = end ? (size_t)(end - *data) : *size;
    char *line = malloc(*length ? *length : 1);
    require(line != NULL);
    if (*length)
        memcpy(line, *data, *length);
    size_t taken = *length + (end ? 1 : 0);
    *data += taken;
    *size -= taken;
    return line;
}

static void check_credentials(const struct sasl *sasl)
{
    size_t user = strnlen(sasl->user, sizeof sasl->user);
    size_t password = strnlen(sasl->password, sizeof sasl->password);
    require(sasl_name_valid(sasl->user, user));
    require(password >= 1 && password <= SASL_PASSWORD_LIMIT);
}

/* The message of PLAIN is decoded once more, and must say just this. */
static void check_plain(const struct sasl *sasl, const char *line, size_t length)
{
    size_t user = strlen(sasl->user), password = strlen(sasl->password), decoded = 0;
    char *bytes = malloc(BASE64_DECODED_SIZE(length) + 1);
    require(bytes && base64_decode(line, length, bytes, &decoded));
    size_t authzid = strnlen(bytes, decoded);
    require(authzid == 0 || (authzid == user && memcmp(bytes, sasl->user, user) == 0));
    require(decoded == authzid + user + password + 2);
    require(memcmp(bytes + authzid + 1, sasl->user, user + 1) == 0);
    require(memcmp(bytes + authzid + user + 2, sasl->password, password) == 0);
    free(bytes);
}

static void check_end(const struct sasl *sasl, enum sasl_status status, const char *line,
                      size_t length)
{
    if (status == SASL_CREDENTIALS) {
        check_credentials(sasl);
        if (sasl->mechanism == SASL_PLAIN)
            check_plain(sasl, line, length);
        return;
    }
    require(all_zero(sasl->password, sizeof sasl->password));
    require(status != SASL_REFUSED || sasl->mechanism == SASL_PLAIN);
    require(status != SASL_CANCELLED || all_zero(sasl->user, sizeof sasl->user));
    size_t user = strnlen(sasl->user, sizeof sasl->user);
    require(user == 0 || sasl_name_valid(sasl->user, user));
    require(status == SASL_CANCELLED || status == SASL_REFUSED || sasl->fault != NULL);
}

static void check_over(struct sasl *sasl)
{
    const char *challenge = NULL;
    require(sasl_continue(sasl, "AGEAYg==", 8, &challenge) == SASL_MALFORMED);
    require(all_zero(sasl->user, sizeof sasl->user));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *challenge = NULL;
    struct sasl sasl;
    char *line = NULL;
    size_t length = 0;

    if (size == 0)
        return 0;
    enum sasl_mechanism mechanism = data[0] & 1 ? SASL_LOGIN : SASL_PLAIN;
    bool initial = data[0] & 2;
    data++;
    size--;
    if (initial)
        line = next_line(&data, &size, &length);
    enum sasl_status status = sasl_start(&sasl, mechanism, line, length, &challenge);
    for (unsigned steps = 0; status == SASL_CHALLENGE; steps++) {
        require(challenge && steps < 2);
        free(line);
        line = next_line(&data, &size, &length);
        status = sasl_continue(&sasl, line, length, &challenge);
    }
    check_end(&sasl, status, line, length);
    check_over(&sasl);
    sasl_wipe(&sasl);
    require(all_zero((const char *)&sasl, sizeof sasl));
    free(line);
    return 0;
}
