/*
 * What a reactor and its opener say to each other, as datagrams on a
 * SOCK_SEQPACKET pair: one order, one answer. Pure encoders and decoders;
 * both sides take the other for hostile. A text that is over-long or holds a
 * NUL or another control character is neither written nor read.
 */
#ifndef POSTERN_OPENER_MESSAGE_H
#define POSTERN_OPENER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

#define OPENER_LOGIN_LIMIT     255
#define OPENER_MECHANISM_LIMIT 32
#define OPENER_NAME_LIMIT      255 /* of a host, or what followed EHLO */
#define OPENER_TLS_LIMIT       15

/* Empty texts are values that are not known. */
struct opener_order {
    uint64_t id; /* the answer repeats it */
    uint16_t backend;
    bool esmtp;            /* EHLO, not HELO */
    bool probe;            /* no client's: the login is a stand-in, without rights */
    struct address client; /* IPv4, IPv6 or none */
    struct address local;  /* the same */
    char login[OPENER_LOGIN_LIMIT + 1];
    char mechanism[OPENER_MECHANISM_LIMIT + 1];
    char helo[OPENER_NAME_LIMIT + 1];
    char host[OPENER_NAME_LIMIT + 1]; /* the client's name */
    char tls[OPENER_TLS_LIMIT + 1];   /* version on the client's side, "TLSv1.3" */
};

/* With a descriptor beside it exactly if error is 0. */
struct opener_answer {
    uint64_t id;
    int error; /* errno, at most OPENER_ERROR_LIMIT */
};

#define OPENER_ERROR_LIMIT   4095
#define OPENER_MESSAGE_LIMIT 1024 /* bytes; larger than every message */

/* Both return the length written; 0 if the message is not one that may be sent. */
size_t opener_message_write_order(const struct opener_order *order,
                                  char out[static OPENER_MESSAGE_LIMIT]);
size_t opener_message_write_answer(const struct opener_answer *answer,
                                   char out[static OPENER_MESSAGE_LIMIT]);

/* Both return false, with *out zeroed, for anything that the writers above do not write. */
MUST_USE bool opener_message_read_order(const char *bytes, size_t length,
                                        struct opener_order *out);
MUST_USE bool opener_message_read_answer(const char *bytes, size_t length,
                                         struct opener_answer *out);

#endif
