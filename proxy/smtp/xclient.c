/*
 * XCLIENT's commands. The order of the attributes is the order of enum smtp_xclient_attribute,
 * and those that must stand together in the last command are the last of it. Pure.
 */
#include "proxy/smtp/xclient.h"

#include <string.h>
#include <strings.h>

#include "proxy/smtp/xtext.h"

static const char *const names[SMTP_XCLIENT_COUNT] = {
    [SMTP_XCLIENT_HELO] = "HELO",         [SMTP_XCLIENT_PROTO] = "PROTO",
    [SMTP_XCLIENT_PORT] = "PORT",         [SMTP_XCLIENT_DESTADDR] = "DESTADDR",
    [SMTP_XCLIENT_DESTPORT] = "DESTPORT", [SMTP_XCLIENT_LOGIN] = "LOGIN",
    [SMTP_XCLIENT_NAME] = "NAME",         [SMTP_XCLIENT_ADDR] = "ADDR",
};

static const char verb[] = "XCLIENT";
static const char unavailable[] = "[UNAVAILABLE]";
static const char temporarily_unavailable[] = "[TEMPUNAVAIL]";

/* " DESTADDR=" and a value. */
#define ATTRIBUTE_SIZE (10 + SMTP_XCLIENT_VALUE_LIMIT)
/* For attributes, between the verb and CRLF. */
#define COMMAND_ROOM (SMTP_XCLIENT_COMMAND_LIMIT - (sizeof verb - 1) - 2)

_Static_assert(ATTRIBUTE_SIZE <= COMMAND_ROOM, "each attribute fits in a command of its own");
_Static_assert(SMTP_XCLIENT_COMMANDS == SMTP_XCLIENT_LOGIN + 1,
               "there is room even if each of them does");

int smtp_xclient_lookup(const char *name, size_t length)
{
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++)
        if (strlen(names[i]) == length && strncasecmp(names[i], name, length) == 0)
            return i;
    return -1;
}

const char *smtp_xclient_name(enum smtp_xclient_attribute attribute)
{
    return names[attribute];
}

uint32_t smtp_xclient_attributes(const char *text, size_t length)
{
    uint32_t found = 0;
    size_t at = 0;
    while (at < length) {
        const char *space = memchr(text + at, ' ', length - at);
        size_t word = space ? (size_t)(space - text) - at : length - at;
        int attribute = smtp_xclient_lookup(text + at, word);
        if (attribute >= 0)
            found |= 1u << attribute;
        at += word + 1;
    }
    return found;
}

struct attribute_text {
    size_t length;
    char text[ATTRIBUTE_SIZE];
};

/* A value that a backend would take for none. */
static bool is_reserved(const char *value)
{
    return strcasecmp(value, unavailable) == 0 ||
           strcasecmp(value, temporarily_unavailable) == 0;
}

/* " NAME=value"; false: the value cannot be told. */
static bool write_attribute(int attribute, const char *value, struct attribute_text *out)
{
    size_t name = strlen(names[attribute]), encoded = 0;
    out->text[0] = ' ';
    memcpy(out->text + 1, names[attribute], name);
    out->text[name + 1] = '=';
    out->length = name + 2;

    bool whole =
        !value || !value[0] ||
        (!is_reserved(value) && smtp_xtext_encode(value, strlen(value), out->text + out->length,
                                                  SMTP_XCLIENT_VALUE_LIMIT, &encoded));
    if (encoded == 0) {
        encoded = sizeof unavailable - 1;
        memcpy(out->text + out->length, unavailable, encoded);
    }
    out->length += encoded;
    return whole;
}

static void begin_command(struct smtp_xclient_commands *out)
{
    unsigned index = out->count++;
    memcpy(out->text[index], verb, sizeof verb - 1);
    out->length[index] = sizeof verb - 1;
}

static void append(struct smtp_xclient_commands *out, const char *text, size_t length)
{
    unsigned index = out->count - 1;
    memcpy(out->text[index] + out->length[index], text, length);
    out->length[index] = (uint16_t)(out->length[index] + length);
}

static bool fits(const struct smtp_xclient_commands *out, size_t length)
{
    return out->count > 0 &&
           out->length[out->count - 1] + length + 2 <= SMTP_XCLIENT_COMMAND_LIMIT;
}

/* Attributes that must not be separated stand behind `from`, and come to one command. */
static size_t length_from(const struct attribute_text *texts, uint32_t offered, int from)
{
    size_t length = 0;
    for (int i = from; i < SMTP_XCLIENT_COUNT; i++)
        if ((offered >> i) & 1u)
            length += texts[i].length;
    return length;
}

static bool write_all(const struct smtp_xclient_identity *identity, uint32_t offered,
                      uint32_t required, struct attribute_text *texts)
{
    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++) {
        if (!((offered >> i) & 1u))
            continue;
        bool whole = write_attribute(i, identity->value[i], &texts[i]);
        if (!whole && ((required >> i) & 1u))
            return false;
    }
    return true;
}

static void end_command(struct smtp_xclient_commands *out)
{
    if (out->count > 0)
        append(out, "\r\n", 2);
}

/* Gives up what is not required of the last command until the rest has room, NAME first. */
static bool fit_last(struct attribute_text *texts, uint32_t offered, uint32_t required)
{
    static const int dispensable[] = {SMTP_XCLIENT_NAME, SMTP_XCLIENT_ADDR, SMTP_XCLIENT_LOGIN};
    for (size_t i = 0; length_from(texts, offered, SMTP_XCLIENT_LOGIN) > COMMAND_ROOM; i++) {
        if (i == sizeof dispensable / sizeof *dispensable)
            return false;
        if (!((required >> dispensable[i]) & 1u))
            (void)write_attribute(dispensable[i], NULL, &texts[dispensable[i]]);
    }
    return true;
}

bool smtp_xclient_format(const struct smtp_xclient_identity *identity, uint32_t offered,
                         uint32_t required, struct smtp_xclient_commands *out)
{
    struct attribute_text texts[SMTP_XCLIENT_COUNT];
    out->count = 0;
    if (!write_all(identity, offered, required, texts) || !fit_last(texts, offered, required))
        return false;

    for (int i = 0; i < SMTP_XCLIENT_COUNT; i++) {
        if (!((offered >> i) & 1u))
            continue;
        size_t need =
            i >= SMTP_XCLIENT_LOGIN ? length_from(texts, offered, i) : texts[i].length;
        if (!fits(out, need)) {
            end_command(out);
            begin_command(out);
        }
        append(out, texts[i].text, texts[i].length);
    }
    end_command(out);
    return true;
}
