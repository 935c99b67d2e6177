/*
 * XCLIENT: telling a backend who and where the client is (Postfix
 * XCLIENT_README). Pure, no allocation.
 *
 * Commands are at most 512 bytes and a value at most 255. LOGIN, NAME and
 * ADDR stand in the last command, ADDR last of all: Postfix forgets a login
 * that a later command does not repeat, and decides anew who may use XCLIENT
 * from the NAME and ADDR that it was just given.
 */
#ifndef POSTERN_SMTP_XCLIENT_H
#define POSTERN_SMTP_XCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum smtp_xclient_attribute {
    SMTP_XCLIENT_HELO,
    SMTP_XCLIENT_PROTO,
    SMTP_XCLIENT_PORT,
    SMTP_XCLIENT_DESTADDR,
    SMTP_XCLIENT_DESTPORT,
    SMTP_XCLIENT_LOGIN,
    SMTP_XCLIENT_NAME,
    SMTP_XCLIENT_ADDR,
    SMTP_XCLIENT_COUNT,
};

#define SMTP_XCLIENT_COMMAND_LIMIT 512
#define SMTP_XCLIENT_VALUE_LIMIT   255
/* At most this many come out: one for each attribute before LOGIN, and the last. */
#define SMTP_XCLIENT_COMMANDS 6

/* The names in "XCLIENT NAME ADDR PORT …" as bits 1u << attribute; unknown ones are passed
 * over. */
uint32_t smtp_xclient_attributes(const char *names, size_t length);

/* "LOGIN" … for logs and configuration; -1 if there is no such attribute. */
const char *smtp_xclient_name(enum smtp_xclient_attribute attribute);
int smtp_xclient_lookup(const char *name, size_t length);

/* Values before encoding, NUL-terminated; NULL or empty is told as [UNAVAILABLE]. */
struct smtp_xclient_identity {
    const char *value[SMTP_XCLIENT_COUNT];
};

struct smtp_xclient_commands {
    unsigned count;
    uint16_t length[SMTP_XCLIENT_COMMANDS];
    char text[SMTP_XCLIENT_COMMANDS][SMTP_XCLIENT_COMMAND_LIMIT]; /* each with its CRLF */
};

/*
 * Writes the commands for the attributes in `offered`. A value cannot be told if it is too
 * long, by itself or beside the others of the last command, or if it is one of the words that
 * stand for no value. Returns false, with no commands, if that befalls an attribute in
 * `required`; any other such attribute is told as [UNAVAILABLE].
 */
__attribute__((warn_unused_result)) bool
smtp_xclient_format(const struct smtp_xclient_identity *identity, uint32_t offered,
                    uint32_t required, struct smtp_xclient_commands *out);

#endif
