/*
 * The client's input before the relay: read as far as there is room and the client reads its
 * replies, one buffer of it in each turn of the loop, and cut into lines for dialogue.c and
 * login.c. Whoever is not read is paused, or the loop would ask for ever.
 */
#include <string.h>

#include "proxy/session_internal.h"
#include "proxy/statistics.h"

/* So much may wait for the client before it is asked for nothing more. */
#define CONGESTED_BYTES ((size_t)16 * 1024)

/* How long a line may be that is not whole yet, in bytes with its end. */
static size_t line_limit(const struct session *session)
{
    const struct buffer *input = &session->dialogue->input;
    bool auth = session->phase == SESSION_CHALLENGE ||
                (input->length >= 5 && strncasecmp(buffer_bytes(input), "AUTH ", 5) == 0);
    return auth ? SMTP_AUTH_LINE_LIMIT : SMTP_COMMAND_LIMIT;
}

static void refuse_long_line(struct session *session)
{
    if (session->phase == SESSION_CHALLENGE)
        login_line_too_long(session);
    else
        dialogue_refuse(session, REPLY_LINE_TOO_LONG);
}

/* Forgets an over-long line as far as it has come. True: something was dealt with. */
static bool skip_line(struct session *session)
{
    struct buffer *input = &session->dialogue->input;
    const char *end = memchr(buffer_bytes(input), '\n', input->length);
    session->dialogue->skipping_line = !end;
    buffer_take_secret(input, end ? (size_t)(end - buffer_bytes(input)) + 1 : input->length);
    return end != NULL;
}

/* To the backend, with the line that has just been read: a first MAIL without AUTH. */
static bool has_left(const struct session *session)
{
    return (!session->login || session->is_permitted) &&
           (session->phase == SESSION_RESOLVING || session->phase == SESSION_OPENING);
}

/* Deals with one line. False: there is none, or it is too long and not at its end. */
static bool take_line(struct session *session)
{
    struct dialogue *dialogue = session->dialogue;
    struct buffer *input = &dialogue->input;
    if (input->length == 0)
        return false;
    if (dialogue->skipping_line)
        return skip_line(session);

    size_t limit = line_limit(session);
    size_t look = input->length < limit ? input->length : limit;
    const char *line = buffer_bytes(input), *end = memchr(line, '\n', look);
    if (!end) {
        if (input->length < limit)
            return false;
        refuse_long_line(session);
        return skip_line(session);
    }
    size_t length = (size_t)(end - line);
    size_t text = length > 0 && end[-1] == '\r' ? length - 1 : length;
    dialogue->line_bytes = length + 1;
    if (session->phase == SESSION_CHALLENGE)
        login_continue(session, line, text);
    else
        dialogue_take_command(session, line, text);
    bool is_for_backend = has_left(session);
    if (input->length > 0 && !is_for_backend) /* STARTTLS has emptied it */
        buffer_take_secret(input, length + 1);
    return true;
}

static bool takes_lines(const struct session *session)
{
    return session->phase == SESSION_COMMANDS || session->phase == SESSION_CHALLENGE;
}

/* In these the input is the dialogue's: while a verdict or the backend is awaited it is kept as
 * far as there is room, so that its end is seen. */
static bool takes_input(const struct session *session)
{
    switch ((enum session_phase)session->phase) {
    case SESSION_COMMANDS:
    case SESSION_CHALLENGE:
    case SESSION_VERDICT:
    case SESSION_DELAYED:
    case SESSION_RESOLVING:
    case SESSION_OPENING:
        return true;
    default:
        return false;
    }
}

/* Promise 9: a client that does not read its replies is not read either. */
static bool is_congested(const struct session *session)
{
    if (stream_queued(session->client) > CONGESTED_BYTES)
        stream_flush(session->client);
    return stream_queued(session->client) > CONGESTED_BYTES;
}

static bool may_read(const struct session *session)
{
    return session->dialogue->input.length < SMTP_AUTH_LINE_LIMIT && !is_congested(session);
}

void dialogue_continue(struct session *session)
{
    while (takes_lines(session) && !is_congested(session) && take_line(session))
        continue;
    if (!takes_input(session))
        return;
    if (!may_read(session))
        stream_pause(session->client);
    else if (session->dialogue->input_ended && takes_lines(session))
        arrival_client_left(session, "client closed");
    else
        stream_resume(session->client);
}

static enum stream_status read_input(struct session *session)
{
    struct buffer *input = &session->dialogue->input;
    size_t size = SMTP_AUTH_LINE_LIMIT - input->length, got = 0;
    if (size > BUFFER_BLOCK_SIZE)
        size = BUFFER_BLOCK_SIZE;
    char *room = buffer_reserve(input, size);
    if (!room) {
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
        return STREAM_BROKEN;
    }
    enum stream_status status = stream_read(session->client, room, size, &got);
    buffer_commit(input, got);
    session->bytes_in += got;
    statistics_add(&statistics->bytes[0], got);
    if (input->length == 0)
        buffer_release(input);
    return status;
}

void dialogue_take_input(struct session *session)
{
    if (!takes_input(session))
        return;
    if (may_read(session) && read_input(session) == STREAM_EOF)
        session->dialogue->input_ended = true;
    dialogue_continue(session);
}
