/*
 * Writes JSON (RFC 8259) into a buffer of libevent's: commas and quotes are
 * its own business, and any bytes are safe in a text. Objects and lists are
 * closed in the order in which they were opened.
 */
#ifndef POSTERN_ADMIN_JSON_H
#define POSTERN_ADMIN_JSON_H

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    struct evbuffer *out;
    bool comma;  /* something stands before what comes next */
    bool failed; /* no memory: what is in `out` is of no use */
};

/* Begins with an object; json_finish() ends it, with a line feed. */
void json_start(struct json *json, struct evbuffer *out);
void json_finish(struct json *json);

/* `key` is NULL inside a list. */
void json_object(struct json *json, const char *key);
void json_object_end(struct json *json);
void json_list(struct json *json, const char *key);
void json_list_end(struct json *json);

/* A `value` of NULL is null. */
void json_text(struct json *json, const char *key, const char *value);
/* The same, and "" is null. */
void json_word(struct json *json, const char *key, const char *value);
void json_bytes(struct json *json, const char *key, const char *value, size_t length);
void json_number(struct json *json, const char *key, uint64_t value);
void json_signed(struct json *json, const char *key, int64_t value);
/* "2026-11-23T14:05:09Z", from seconds since 1970. */
void json_time(struct json *json, const char *key, int64_t seconds);
void json_flag(struct json *json, const char *key, bool value);

#endif
