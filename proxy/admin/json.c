/* The writer: each value takes care of the comma before it. Keeps nothing, reads nothing back.
 */
#include "proxy/admin/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proxy/base/escape.h"

static void put(struct json *json, const char *bytes, size_t length)
{
    json->failed |= evbuffer_add(json->out, bytes, length) < 0;
}

static void put_string(struct json *json, const char *text, size_t length)
{
    char piece[512];
    put(json, "\"", 1);
    while (length > 0) {
        size_t written,
            taken = escape(ESCAPE_JSON, text, length, piece, sizeof piece, &written);
        put(json, piece, written);
        text += taken;
        length -= taken;
    }
    put(json, "\"", 1);
}

static void begin_value(struct json *json, const char *key)
{
    if (json->comma)
        put(json, ",", 1);
    json->comma = true;
    if (!key)
        return;
    put_string(json, key, strlen(key));
    put(json, ":", 1);
}

static void open_value(struct json *json, const char *key, const char *bracket)
{
    begin_value(json, key);
    put(json, bracket, 1);
    json->comma = false;
}

static void close_value(struct json *json, const char *bracket)
{
    put(json, bracket, 1);
    json->comma = true;
}

void json_start(struct json *json, struct evbuffer *out)
{
    *json = (struct json){.out = out};
    open_value(json, NULL, "{");
}

void json_finish(struct json *json)
{
    put(json, "}\n", 2);
}

void json_object(struct json *json, const char *key)
{
    open_value(json, key, "{");
}

void json_object_end(struct json *json)
{
    close_value(json, "}");
}

void json_list(struct json *json, const char *key)
{
    open_value(json, key, "[");
}

void json_list_end(struct json *json)
{
    close_value(json, "]");
}

void json_bytes(struct json *json, const char *key, const char *value, size_t length)
{
    begin_value(json, key);
    put_string(json, value, length);
}

void json_text(struct json *json, const char *key, const char *value)
{
    if (value) {
        json_bytes(json, key, value, strlen(value));
        return;
    }
    begin_value(json, key);
    put(json, "null", 4);
}

void json_word(struct json *json, const char *key, const char *value)
{
    json_text(json, key, *value ? value : NULL);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    char digits[24];
    begin_value(json, key);
    put(json, digits, (size_t)snprintf(digits, sizeof digits, "%" PRIu64, value));
}

void json_signed(struct json *json, const char *key, int64_t value)
{
    char digits[24];
    begin_value(json, key);
    put(json, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, value));
}

void json_time(struct json *json, const char *key, int64_t seconds)
{
    char text[sizeof "2026-11-23T14:05:09Z"] = "";
    time_t when = (time_t)seconds;
    struct tm parts;
    if (gmtime_r(&when, &parts) &&
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0)
        json_text(json, key, text);
    else
        json_text(json, key, NULL);
}

void json_flag(struct json *json, const char *key, bool value)
{
    begin_value(json, key);
    put(json, value ? "true" : "false", value ? 4 : 5);
}
