/* The checks of what comes from another reactor. */
#include "proxy/admin/message.h"

#include <string.h>

#include "proxy/base/network.h"
#include "proxy/session.h"

#define ENDS(text) (memchr((text), '\0', sizeof(text)) != NULL)

bool admin_question_valid(const struct admin_question *question, size_t length)
{
    struct network network;
    const char *why;
    return length == sizeof *question && question->version == ADMIN_MESSAGE_VERSION &&
           question->type < ADMIN_QUESTION_TYPES && question->limit <= ADMIN_SESSIONS_LIMIT &&
           ENDS(question->id) && ENDS(question->user) && ENDS(question->network) &&
           (!question->network[0] || network_parse(question->network, &network, &why));
}

bool admin_answer_valid(const struct admin_answer *answer, size_t length)
{
    return length == sizeof *answer && answer->version == ADMIN_MESSAGE_VERSION;
}

/* The line goes to a reader as it is, so that it must be one. */
static bool is_line(const char *text, size_t length)
{
    if (length < 2 || text[0] != '{' || text[length - 1] != '}')
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < ' ')
            return false;
    return true;
}

bool admin_event_valid(const struct admin_event *event, size_t length)
{
    return length > ADMIN_EVENT_HEAD && event->version == ADMIN_MESSAGE_VERSION &&
           event->length == length - ADMIN_EVENT_HEAD && event->length < sizeof event->line &&
           ENDS(event->name) && ENDS(event->user) && ENDS(event->client) &&
           is_line(event->line, event->length);
}

bool admin_session_valid(const struct admin_session *session)
{
    return session->state < SESSION_STATES && ENDS(session->id) && ENDS(session->client) &&
           ENDS(session->listener) && ENDS(session->user) && ENDS(session->mechanism) &&
           ENDS(session->helo) && ENDS(session->tls) && ENDS(session->cipher) &&
           ENDS(session->backend);
}

void admin_message_put(char *out, size_t size, const char *text)
{
    size_t length = text ? strnlen(text, size - 1) : 0;
    memset(out, 0, size);
    if (length > 0)
        memcpy(out, text, length);
}
