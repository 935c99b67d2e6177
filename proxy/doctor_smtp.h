/*
 * A small SMTP client for the doctor: one command, one reply, blocking, with a deadline for the
 * whole connection. It can say neither DATA nor BDAT: no mail comes of it. Whoever answers is
 * hostile, and whatever it says is bounded.
 */
#ifndef POSTERN_DOCTOR_SMTP_H
#define POSTERN_DOCTOR_SMTP_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/smtp/ehlo.h"
#include "proxy/smtp/reply.h"

/* Milliseconds that a connection may last. */
#define DOCTOR_SMTP_TIME_MS 10000

#define DOCTOR_WHY_SIZE 256

struct doctor_smtp {
    int fd;
    SSL *ssl; /* NULL: plaintext */
    uint64_t deadline_ms;
    size_t length; /* of what came and was not looked at yet */
    char input[SMTP_REPLY_LINE_LIMIT];
    char why[DOCTOR_WHY_SIZE]; /* where something returned false */
};

#define DOCTOR_REPLY_SIZE 512

struct doctor_reply {
    unsigned code;
    char text[DOCTOR_REPLY_SIZE]; /* "554 5.7.1 no": the first line, with its code */
    struct smtp_ehlo ehlo;        /* what the further lines offer */
};

/* Connects. False: `why` says it, and there is nothing to close. */
MUST_USE bool doctor_smtp_open(struct doctor_smtp *smtp, const struct address *address);

/* Speaks over a socket that is there already, and owns it. */
void doctor_smtp_adopt(struct doctor_smtp *smtp, int fd);

/* Closes; QUIT, if that is wished for, has been said before. */
void doctor_smtp_close(struct doctor_smtp *smtp);

/* TLS from here on; with `name`, the certificate must be believed and have it. */
MUST_USE bool doctor_smtp_secure(struct doctor_smtp *smtp, SSL_CTX *context, const char *name);

/* Bytes as they are. */
MUST_USE bool doctor_smtp_write(struct doctor_smtp *smtp, const char *bytes, size_t length);

/* The next reply, such as the greeting. False: the connection is over, or that is not SMTP. */
MUST_USE bool doctor_smtp_read(struct doctor_smtp *smtp, struct doctor_reply *reply);

/* A command, without its line end, and its reply. */
PRINTF_LIKE(3, 4)
MUST_USE bool doctor_smtp_say(struct doctor_smtp *smtp, struct doctor_reply *reply,
                              const char *format, ...);

#endif
