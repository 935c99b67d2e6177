/*
 * What reactors ask each other: datagrams and records of one fixed shape.
 * Each side takes the other for hostile: what does not pass these checks is
 * dropped. No I/O.
 */
#ifndef POSTERN_ADMIN_MESSAGE_H
#define POSTERN_ADMIN_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/base/log.h"

/* A new number for each change of a shape: another binary's reactors may still finish their
 * sessions. */
#define ADMIN_MESSAGE_VERSION 1u

#define ADMIN_ID_SIZE    17
#define ADMIN_LOGIN_SIZE 256
#define ADMIN_NAME_SIZE  64
#define ADMIN_EVENT_SIZE 40
/* "2001:db8::/32" */
#define ADMIN_NETWORK_SIZE 50

/* Sessions in one answer. */
#define ADMIN_SESSIONS_LIMIT 10000u

enum admin_question_type {
    ADMIN_LIST_SESSIONS,
    ADMIN_END_SESSIONS,
    ADMIN_WATCH_EVENTS, /* not answered; with the descriptor that struct admin_event goes to;
                           serial: one that takes the place of the former with this number */
    ADMIN_QUESTION_TYPES,
};

/* About the sessions that fit every filter; an empty one fits all. */
struct admin_question {
    uint32_t version;
    uint32_t type; /* enum admin_question_type */
    uint32_t serial;
    uint32_t limit; /* of sessions that are listed */
    char id[ADMIN_ID_SIZE];
    char user[ADMIN_LOGIN_SIZE];
    char network[ADMIN_NETWORK_SIZE];
};

/* With the descriptor of a file of struct admin_session, if it lists any. */
struct admin_answer {
    uint32_t version;
    uint32_t serial;
    uint32_t matched; /* sessions that fit, listed or ended */
};

/* Texts are cut where they are longer; "" is none. */
struct admin_session {
    char id[ADMIN_ID_SIZE];
    char client[ADDRESS_HOST_SIZE];
    char listener[ADMIN_NAME_SIZE];
    char user[ADMIN_LOGIN_SIZE];
    char mechanism[16];
    char helo[ADMIN_LOGIN_SIZE];
    char tls[16];
    char cipher[48];
    char backend[ADMIN_NAME_SIZE];
    uint8_t state; /* below SESSION_STATES */
    uint16_t port;
    uint32_t pid; /* of its reactor */
    uint32_t messages, recipients;
    uint64_t age_ms;
    uint64_t bytes_in, bytes_out;
};

/* An event of the log on its way to those who watch: a datagram that ends with the line. */
struct admin_event {
    uint32_t version;
    uint32_t lost; /* events that had no room since the one before */
    uint32_t length;
    char name[ADMIN_EVENT_SIZE];
    char user[ADMIN_LOGIN_SIZE];
    char client[ADDRESS_HOST_SIZE];
    char line[LOG_LINE_LIMIT]; /* `length` bytes of it: a JSON object without a line end */
};
#define ADMIN_EVENT_HEAD offsetof(struct admin_event, line)

/* Is it one of these, every text with its end? `length` is that of the datagram. */
MUST_USE bool admin_question_valid(const struct admin_question *question, size_t length);
MUST_USE bool admin_answer_valid(const struct admin_answer *answer, size_t length);
MUST_USE bool admin_event_valid(const struct admin_event *event, size_t length);
MUST_USE bool admin_session_valid(const struct admin_session *session);

/* Copies a text, cut if it must be; NULL is "". The rest of `out` becomes zero. */
void admin_message_put(char *out, size_t size, const char *text);

#endif
