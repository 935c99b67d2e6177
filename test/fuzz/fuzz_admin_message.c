/*
 * What reactors ask each other: whatever passes the checks can be read as text and numbers to
 * its end, by those who read it, without another look.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/admin/json.h"
#include "proxy/admin/message.h"
#include "proxy/base/network.h"
#include "proxy/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_question(const void *bytes, size_t size)
{
    const struct admin_question *question = bytes;
    struct network network;
    const char *why;
    if (!admin_question_valid(question, size))
        return;
    require(strlen(question->id) < sizeof question->id);
    require(strlen(question->user) < sizeof question->user);
    require(!*question->network || network_parse(question->network, &network, &why));
}

static void check_session(const struct admin_session *session)
{
    struct json json;
    if (!admin_session_valid(session))
        return;
    require(session_state_name(session->state) != NULL);
    json_start(&json, evbuffer_new());
    json_text(&json, "user", session->user);
    json_text(&json, "helo", session->helo);
    json_finish(&json);
    size_t length = evbuffer_get_length(json.out);
    const char *text = (const char *)evbuffer_pullup(json.out, -1);
    require(!json.failed && memchr(text, '\n', length) == text + length - 1);
    for (size_t i = 0; i + 1 < length; i++)
        require((unsigned char)text[i] >= ' ');
    evbuffer_free(json.out);
}

/* The line is a line, and no longer than what came. */
static void check_event(const void *bytes, size_t size)
{
    const struct admin_event *event = bytes;
    if (!admin_event_valid(event, size))
        return;
    require(ADMIN_EVENT_HEAD + event->length == size);
    require(strlen(event->name) < sizeof event->name);
    require(strlen(event->user) < sizeof event->user);
    require(strlen(event->client) < sizeof event->client);
    require(!memchr(event->line, '\n', event->length));
}

/* Copied to memory of just that size, as the checks may look no further. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t room = size > sizeof(struct admin_session) ? size : sizeof(struct admin_session);
    void *bytes = calloc(1, room);
    require(bytes != NULL);
    if (size)
        memcpy(bytes, data, size);
    check_question(bytes, size);
    check_event(bytes, size);
    (void)!admin_answer_valid(bytes, size);
    check_session(bytes);
    free(bytes);
    return 0;
}
