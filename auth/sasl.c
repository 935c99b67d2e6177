/*
 * The mechanisms as a table: for each, the challenges in
 * order and the function that takes the answer. The SMTP session calls it
 * line by line; it never looks at the network and never judges a password,
 * only the form of what the client sent.
 */
#include "auth/sasl.h"

#include <string.h>
#include <strings.h>

#include "auth/base64.h"

/* authzid NUL authcid NUL passwd (RFC 4616 section 2), none longer than it may be. */
#define RESPONSE_LIMIT (2 * SASL_USER_LIMIT + SASL_PASSWORD_LIMIT + 2)
#define ENCODED_LIMIT  ((size_t)(RESPONSE_LIMIT + 2) / 3 * 4)

/* Takes one decoded response; SASL_CREDENTIALS: it is good, go on to the next step. */
typedef enum sasl_status take_response(struct sasl *sasl, const char *bytes, size_t length);

static take_response plain_take_message, login_take_user, login_take_password,
    external_take_name;

static const struct mechanism {
    const char *name;
    unsigned steps;
    struct {
        const char *challenge; /* in base64 */
        take_response *take;
    } step[2];
} mechanisms[SASL_MECHANISM_COUNT] = {
    [SASL_PLAIN] = {"PLAIN", 1, {{"", plain_take_message}}},
    [SASL_LOGIN] = {"LOGIN",
                    2,
                    /* "Username:" and "Password:": some clients compare them byte for byte. */
                    {{"VXNlcm5hbWU6", login_take_user}, {"UGFzc3dvcmQ6", login_take_password}}},
    [SASL_EXTERNAL] = {"EXTERNAL", 1, {{"", external_take_name}}},
};

const char *sasl_mechanism_name(enum sasl_mechanism mechanism)
{
    return mechanisms[mechanism].name;
}

int sasl_mechanism_lookup(const char *name, size_t length)
{
    for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
        const char *known = mechanisms[i].name;
        if (strlen(known) == length && strncasecmp(known, name, length) == 0)
            return i;
    }
    return -1;
}

bool sasl_name_valid(const char *name, size_t length)
{
    if (length == 0 || length > SASL_USER_LIMIT)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return false;
    return true;
}

static enum sasl_status malformed(struct sasl *sasl, const char *fault)
{
    sasl->fault = fault;
    return SASL_MALFORMED;
}

static enum sasl_status set_user(struct sasl *sasl, const char *name, size_t length)
{
    if (length == 0)
        return malformed(sasl, "no user name");
    if (length > SASL_USER_LIMIT)
        return malformed(sasl, "user name over " TEXT_OF(SASL_USER_LIMIT) " bytes");
    if (!sasl_name_valid(name, length))
        return malformed(sasl, "control character in the user name");
    memcpy(sasl->user, name, length);
    sasl->user[length] = '\0';
    return SASL_CREDENTIALS;
}

/* Any bytes but NUL, at least one (RFC 4616 section 2: passwd = 1*SAFE). */
static enum sasl_status set_password(struct sasl *sasl, const char *password, size_t length)
{
    const char *nul = memchr(password, '\0', length);
    if (length == 0) {
        sasl->fault = "empty password";
        return SASL_EMPTY;
    }
    if (length > SASL_PASSWORD_LIMIT)
        return malformed(sasl, "password over " TEXT_OF(SASL_PASSWORD_LIMIT) " bytes");
    if (nul)
        return malformed(sasl, nul == password + length - 1 ? "NUL after the password"
                                                            : "NUL in the password");
    memcpy(sasl->password, password, length);
    sasl->password[length] = '\0';
    return SASL_CREDENTIALS;
}

static enum sasl_status plain_take_message(struct sasl *sasl, const char *bytes, size_t length)
{
    const char *end = bytes + length;
    const char *authzid_end = memchr(bytes, '\0', length);
    if (!authzid_end)
        return malformed(sasl, "no NUL: not a message of PLAIN");
    const char *user = authzid_end + 1;
    const char *user_end = memchr(user, '\0', (size_t)(end - user));
    if (!user_end)
        return malformed(sasl, "no NUL after the user name");

    const char *password = user_end + 1;
    size_t authzid_length = (size_t)(authzid_end - bytes);
    size_t user_length = (size_t)(user_end - user);
    enum sasl_status status = set_user(sasl, user, user_length);
    if (status != SASL_CREDENTIALS)
        return status;
    if (authzid_length > 0 && !sasl_name_valid(bytes, authzid_length))
        status = malformed(sasl, "authorization identity that is no name");
    else
        status = set_password(sasl, password, (size_t)(end - password));
    if (status != SASL_CREDENTIALS || authzid_length == 0)
        return status;
    bool same = authzid_length == user_length && memcmp(bytes, user, user_length) == 0;
    return same ? SASL_CREDENTIALS : SASL_REFUSED;
}

static enum sasl_status login_take_user(struct sasl *sasl, const char *bytes, size_t length)
{
    return set_user(sasl, bytes, length);
}

static enum sasl_status login_take_password(struct sasl *sasl, const char *bytes, size_t length)
{
    return set_password(sasl, bytes, length);
}

static enum sasl_status external_take_name(struct sasl *sasl, const char *bytes, size_t length)
{
    return length == 0 ? SASL_CREDENTIALS : set_user(sasl, bytes, length);
}

static enum sasl_status decode_and_take(struct sasl *sasl, const char *text, size_t length)
{
    char bytes[BASE64_DECODED_SIZE(ENCODED_LIMIT)];
    size_t decoded = 0;

    if (length > ENCODED_LIMIT)
        return malformed(sasl, "longer than names and passwords may be");
    if (!base64_decode(text, length, bytes, &decoded))
        return malformed(sasl, "bad base64");
    enum sasl_status status =
        mechanisms[sasl->mechanism].step[sasl->step].take(sasl, bytes, decoded);
    explicit_bzero(bytes, decoded);
    return status;
}

/* Ends the exchange without credentials; a name stays, for the log, unless it is cancelled. */
static enum sasl_status fail(struct sasl *sasl, enum sasl_status status)
{
    explicit_bzero(sasl->password, sizeof sasl->password);
    if (status == SASL_CANCELLED)
        explicit_bzero(sasl->user, sizeof sasl->user);
    sasl->step = (uint8_t)mechanisms[sasl->mechanism].steps;
    return status;
}

static enum sasl_status respond(struct sasl *sasl, const char *text, size_t length,
                                const char **challenge)
{
    const struct mechanism *mechanism = &mechanisms[sasl->mechanism];
    if (sasl->step >= mechanism->steps) {
        explicit_bzero(sasl->user, sizeof sasl->user);
        return fail(sasl, malformed(sasl, "the exchange is over"));
    }
    enum sasl_status status = decode_and_take(sasl, text, length);
    if (status != SASL_CREDENTIALS)
        return fail(sasl, status);
    if (++sasl->step == mechanism->steps)
        return SASL_CREDENTIALS;
    *challenge = mechanism->step[sasl->step].challenge;
    return SASL_CHALLENGE;
}

enum sasl_status sasl_start(struct sasl *sasl, enum sasl_mechanism mechanism,
                            const char *initial, size_t length, const char **challenge)
{
    sasl_wipe(sasl);
    sasl->mechanism = (uint8_t)mechanism;
    if (!initial) {
        *challenge = mechanisms[mechanism].step[0].challenge;
        return SASL_CHALLENGE;
    }
    /* RFC 4954 section 4: how an empty initial response is written. */
    if (length == 1 && initial[0] == '=')
        length = 0;
    return respond(sasl, initial, length, challenge);
}

enum sasl_status sasl_continue(struct sasl *sasl, const char *line, size_t length,
                               const char **challenge)
{
    if (length == 1 && line[0] == '*')
        return fail(sasl, SASL_CANCELLED);
    return respond(sasl, line, length, challenge);
}

void sasl_wipe(struct sasl *sasl)
{
    explicit_bzero(sasl, sizeof *sasl);
}
