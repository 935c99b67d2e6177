/* The backend's struct, shared by backend.c and backend_steps.c only. */
#ifndef POSTERN_BACKEND_INTERNAL_H
#define POSTERN_BACKEND_INTERNAL_H

#include <event2/event_struct.h>

#include "proxy/backend.h"
#include "proxy/base/buffer.h"
#include "proxy/smtp/reply.h"

#define BACKEND_CAUSE_SIZE 256

/*
 *   CONNECTING ─> GREETING ─> EHLO ─> XCLIENT (1 to n) ─> CLIENTS_HELLO ─> READY
 *       │            ^         │  ^                           ^
 *       └─ HANDSHAKE ┘      STARTTLS ─> HANDSHAKE ────────────┘ (or EHLO again)
 */
enum backend_step {
    STEP_CONNECTING, /* by the opener */
    STEP_HANDSHAKE,  /* TLS */
    STEP_GREETING,
    STEP_EHLO,     /* our own */
    STEP_STARTTLS, /* said, not answered yet */
    STEP_XCLIENT,
    STEP_CLIENTS_HELLO,
    STEP_READY,
    STEP_OVER, /* failed; the callback is due */
};

/* What was found when a deadline had last passed. */
enum backend_expiry {
    EXPIRY_NONE, /* none has */
    EXPIRY_UNCONNECTED,
    EXPIRY_CONNECTED,
};

struct backend {
    struct service *service;
    backend_callback *callback;
    void *context;
    struct stream *stream;
    struct opener_request *request;
    const struct config_backend *config;
    const struct identity_way *way;
    struct identity identity;
    bool probe;
    enum backend_step step;
    enum reply reply;
    bool of_client;      /* see struct backend_result */
    bool waits;          /* for a descriptor */
    uint64_t give_up_ms; /* waiting for one; 0: none was ever missing */
    enum backend_expiry expiry;
    struct event timer;
    struct buffer input;
    size_t received_bytes;
    struct smtp_reply_state reply_state;
    unsigned reply_lines;
    bool reply_whole;
    bool is_refused;                 /* as a session, by the reply in `refusal` */
    struct smtp_reply_text *refusal; /* the last reply of 4xx or 5xx; NULL: there was none */
    struct smtp_ehlo ehlo;
    struct smtp_xclient_commands xclient;
    unsigned xclient_sent;
    bool by_address; /* the client's name was no name to the backend */
    char cause[BACKEND_CAUSE_SIZE];
};

/* The first cause stays; the callback comes from the event that is under way. */
void backend_fail(struct backend *backend, enum reply reply, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Begins TLS on the stream; what has been read in plaintext is forgotten (threat 3). */
void backend_secure(struct backend *backend);

/* backend_steps.c */
/* Deals with the whole lines in backend->input. */
void backend_take_input(struct backend *backend);
/* TLS is there: goes on with what is due then. */
void backend_secured(struct backend *backend);

#endif
