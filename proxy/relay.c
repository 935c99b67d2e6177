/*
 * The relay's life: reading both sides as far as the other takes it, the queue of what was
 * asked, and the ways to end. Owned by a session; calls nobody back, the session looks at
 * relay_end().
 */
#include "proxy/relay.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/clock.h"
#include "proxy/base/slab.h"
#include "proxy/relay_internal.h"
#include "proxy/statistics.h"

/* What is read of the backend at once: replies are short, and of a client that does not read
 * them so much waits here. */
#define REPLIES_BYTES ((size_t)64 * 1024)
_Static_assert(SMTP_REPLY_LINE_LIMIT + REPLIES_BYTES <= SERVICE_SCRATCH_SIZE, "there is room");

struct relay *relay_new(struct service *service, const struct relay_party *party,
                        struct stream *client, struct stream *backend,
                        const struct smtp_ehlo *ehlo, struct buffer *leftover)
{
    struct relay *relay = slab_alloc(sizeof *relay);
    if (!relay) {
        stream_free(backend);
        return NULL;
    }
    relay->service = service;
    relay->party = *party;
    relay->client = client;
    relay->backend = backend;
    relay->pipelining = smtp_ehlo_offers(ehlo, SMTP_EXT_PIPELINING);
    relay->chunking =
        smtp_ehlo_carried(ehlo, party->listen->withhold) >> SMTP_EXT_CHUNKING & 1u;
    relay->withdrawn = party->offered & ~ehlo->offered;
    relay->commands = *leftover;
    *leftover = BUFFER_EMPTY;
    relay->last_activity_ms = clock_now_ms();
    return relay;
}

void relay_free(struct relay *relay)
{
    if (!relay)
        return;
    stream_free(relay->backend);
    buffer_release(&relay->commands);
    buffer_release(&relay->reply);
    envelope_free(&relay->envelope);
    free(relay->ehlo);
    slab_free(relay->refusal, RELAY_REFUSAL_SIZE);
    slab_free(relay, sizeof *relay);
}

const struct relay_end *relay_end(const struct relay *relay)
{
    return &relay->end;
}

const struct relay_counts *relay_counts(const struct relay *relay)
{
    return &relay->counts;
}

const char *relay_refusal(const struct relay *relay)
{
    return relay->refusal;
}

bool relay_is_in_reply(const struct relay *relay)
{
    return relay->in_reply;
}

void relay_finish(struct relay *relay, enum reply reply, const char *cause)
{
    if (!relay->end.over)
        relay->end = (struct relay_end){.over = true, .reply = reply, .cause = cause};
}

void relay_close(struct relay *relay, enum reply reply, const char *cause)
{
    relay->mode = RELAY_CLOSING;
    relay->closing_reply = (uint8_t)reply;
    relay->closing_cause = cause;
}

void relay_queue_push(struct relay *relay, uint8_t expectation)
{
    unsigned place = (relay->queue_first + relay->queue_count++) % RELAY_QUEUE_SIZE;
    relay->queue[place] = expectation;
}

static uint8_t queued(const struct relay *relay, unsigned place)
{
    return relay->queue[(relay->queue_first + place) % RELAY_QUEUE_SIZE];
}

/* It can only be the last one: nothing is asked after it before its end. */
bool relay_is_half(const struct relay *relay, unsigned place)
{
    uint8_t last = queued(relay, place);
    if (place + 1u != relay->queue_count)
        return false;
    if (relay->mode == RELAY_MESSAGE)
        return last == EXPECT_MESSAGE;
    return relay->mode == RELAY_CHUNK && (last == EXPECT_CHUNK || last == EXPECT_LAST_CHUNK);
}

bool relay_awaits_verdict(const struct relay *relay)
{
    for (unsigned i = 0; i < relay->queue_count; i++) {
        uint8_t each = queued(relay, i);
        bool verdict = each == EXPECT_MESSAGE || each == EXPECT_LAST_CHUNK;
        if (verdict && !relay_is_half(relay, i))
            return true;
    }
    return false;
}

uint8_t relay_queue_first(const struct relay *relay)
{
    return queued(relay, 0);
}

void relay_queue_pop(struct relay *relay)
{
    relay->queue_first = (uint16_t)((relay->queue_first + 1) % RELAY_QUEUE_SIZE);
    relay->queue_count--;
}

void relay_say(struct relay *relay, const char *bytes, size_t length)
{
    relay->counts.bytes_out += length;
    statistics_add(&statistics->bytes[1], length);
    stream_write(relay->client, bytes, length);
}

size_t relay_trace(struct relay *relay, char out[static SMTP_TRACE_SIZE])
{
    return relay->party.trace ? relay->party.trace(relay->party.context, out) : 0;
}

void relay_answer(struct relay *relay, enum reply reply)
{
    if (relay->queue_count > 0) {
        relay_queue_push(relay, (uint8_t)(EXPECT_LOCAL | reply));
        return;
    }
    const struct reply_text *text = reply_text(reply);
    relay_say(relay, text->text, text->length);
}

/*
 * EHLO, NOOP, VRFY and their like end a group (RFC 2920 section 3.1), whatever a client does: a
 * server that insists (Exim) closes if something is behind them.
 */
static bool ends_group(uint8_t expectation)
{
    return expectation == EXPECT_ANY || expectation == EXPECT_EHLO ||
           expectation == EXPECT_HELO;
}

static bool group_has_ended(const struct relay *relay)
{
    unsigned behind = (unsigned)relay->queue_first + relay->queue_count;
    unsigned last = (behind + RELAY_QUEUE_SIZE - 1) % RELAY_QUEUE_SIZE;
    return relay->queue_count > 0 && ends_group(relay->queue[last]);
}

/* Two places are kept free: the message after a DATA, and nothing is ever pushed beyond. */
static bool queue_is_full(const struct relay *relay)
{
    unsigned limit = relay->pipelining ? RELAY_QUEUE_SIZE - 2 : 1;
    bool commands = relay->mode == RELAY_COMMANDS;
    return commands && (relay->queue_count >= limit || group_has_ended(relay));
}

/*
 * Does a side have more than it takes now? What has only been gathered is sent first: then, if
 * much is left, the socket is full, and STREAM_DRAINED will tell of its end.
 */
static bool is_congested(struct stream *stream)
{
    if (!stream)
        return false;
    if (stream_queued(stream) > RELAY_CONGESTED_BYTES)
        stream_flush(stream);
    return stream_queued(stream) > RELAY_CONGESTED_BYTES;
}

/*
 * Nothing goes out after the end of a message or chunk before its reply has come: some servers
 * (Courier 1.0) throw away what they have read together with it, and one that saw another end
 * than we did gets nothing that it could take for commands. Nor does ETRN go out after what is
 * unanswered: sendmail (8.17) starts another process for it, which says what the first has not
 * said yet, too, and each reply after that would be taken for that to another command. Nor does
 * a chunk: a server that refused what stands before it would read it as commands. And a reply
 * that nobody asked for is heard to its end, as its next line would answer what is asked now.
 */
bool relay_is_blocked(const struct relay *relay)
{
    bool alone = relay->alone && relay->queue_count > 0 && relay->mode == RELAY_COMMANDS;
    bool unasked = relay->in_reply && relay->queue_count == 0;
    return relay->end.over || relay->message_unanswered || alone || unasked ||
           relay->mode == RELAY_AWAITING || relay->mode == RELAY_CLOSING ||
           queue_is_full(relay) || is_congested(relay->backend) || is_congested(relay->client);
}

static void note_activity(struct relay *relay)
{
    relay->last_activity_ms = clock_now_ms();
}

/* Threat 7: only CRLF.CRLF ends a message, and a client may think that it has ended its own. */
const char *relay_cause_in_message(const struct relay *relay, const char *cause,
                                   const char *cause_at_false_end)
{
    bool is_false_end = relay->mode == RELAY_MESSAGE && smtp_data_seems_ended(&relay->data);
    return is_false_end ? cause_at_false_end : cause;
}

/* The client has said its last word: replies to what it asked are still brought to it. */
static void after_client_end(struct relay *relay)
{
    if (!relay->client_ended || relay->end.over || relay_is_blocked(relay))
        return;
    if (!relay->backend)
        relay_finish(relay, REPLY_NONE, relay->closing_cause);
    else if (relay->mode == RELAY_MESSAGE || relay->mode == RELAY_CHUNK)
        relay_finish(
            relay, REPLY_NONE,
            relay_cause_in_message(relay, "client closed in the middle of a message",
                                   "client closed after a dot that does not end a message: "
                                   "it was not between CRLF and CRLF"));
    else if (relay->queue_count == 0)
        relay_finish(relay, REPLY_NONE, "client closed");
}

static void after_closing(struct relay *relay)
{
    if (relay->mode == RELAY_CLOSING && relay->queue_count == 0)
        relay_finish(relay, (enum reply)relay->closing_reply, relay->closing_cause);
}

static void after_transaction(struct relay *relay)
{
    if (relay->stopping && relay->mode == RELAY_COMMANDS && !relay->in_transaction &&
        relay->queue_count == 0)
        relay_finish(relay, REPLY_SHUTTING_DOWN, "shutdown");
}

/* One look at what was held back, and at what is over. True: sending what that came to has made
 * room for another. */
static bool take_held(struct relay *relay)
{
    bool was_blocked = relay_is_blocked(relay);
    size_t held = relay->commands.length;
    if (held > 0 && !was_blocked)
        buffer_take(&relay->commands,
                    relay_take_input(relay, buffer_bytes(&relay->commands), held));
    after_closing(relay);
    after_client_end(relay);
    after_transaction(relay);
    if (relay->backend)
        stream_flush(relay->backend);
    if (!relay->end.over) /* else the last words leave together with TLS's own */
        stream_flush(relay->client);

    bool moved = was_blocked || relay->commands.length < held;
    return moved && relay->commands.length > 0 && !relay_is_blocked(relay);
}

/* Time that the client spends on waiting for the backend is none of its own. */
static void watch_rate(struct relay *relay)
{
    bool sends = relay->mode == RELAY_MESSAGE || relay->mode == RELAY_CHUNK;
    if (!sends && !relay->in_chunks)
        rate_forget(&relay->rate);
    else if (relay->service->config->limits.minimum_rate > 0)
        rate_watch(&relay->rate, relay->last_activity_ms, relay->counts.bytes_in,
                   relay->message_unanswered || relay->mode == RELAY_AWAITING ||
                       is_congested(relay->backend));
}

/* At the end of every turn: what was held back and may go on, and who may be read. */
static void settle(struct relay *relay)
{
    while (take_held(relay))
        continue;
    watch_rate(relay);
    if (relay_is_blocked(relay) || relay->client_ended)
        stream_pause(relay->client);
    else
        stream_resume(relay->client);
    relay->client_congested = is_congested(relay->client);
    if (!relay->backend)
        return;
    if (relay->client_congested)
        stream_pause(relay->backend);
    else
        stream_resume(relay->backend);
}

static void keep_commands(struct relay *relay, const char *bytes, size_t length)
{
    if (length > 0 && !buffer_append(&relay->commands, bytes, length))
        relay_finish(relay, REPLY_NO_MEMORY, "out of memory");
}

/* Behind the unfinished line of the last turn, so that a command stands in one piece. */
static enum stream_status read_client(struct relay *relay)
{
    char *scratch = relay->service->scratch;
    size_t held = relay->commands.length, got = 0;

    if (held > 0)
        memcpy(scratch, buffer_bytes(&relay->commands), held);
    enum stream_status status =
        stream_read(relay->client, scratch + held, SERVICE_SCRATCH_SIZE - held, &got);
    if (status != STREAM_OK)
        return status;

    buffer_release(&relay->commands);
    relay->counts.bytes_in += got;
    statistics_add(&statistics->bytes[0], got);
    size_t taken = relay_take_input(relay, scratch, held + got);
    keep_commands(relay, scratch + taken, held + got - taken);
    return status;
}

/* One buffer of input in a turn, so that a fast client does not keep the others waiting. */
static void client_readable(struct relay *relay)
{
    if (!relay_is_blocked(relay) && read_client(relay) == STREAM_EOF)
        relay->client_ended = true;
}

void relay_start(struct relay *relay, bool client_ended)
{
    relay->client_ended = client_ended;
    settle(relay);
}

void relay_client_event(struct relay *relay, enum stream_event event)
{
    note_activity(relay);
    if (event == STREAM_FAILED)
        relay_finish(relay, REPLY_NONE, stream_error(relay->client));
    else if (event == STREAM_READABLE)
        client_readable(relay);
    settle(relay);
}

static enum stream_status read_backend(struct relay *relay)
{
    char *scratch = relay->service->scratch;
    size_t held = relay->reply.length, got = 0;

    if (held > 0)
        memcpy(scratch, buffer_bytes(&relay->reply), held);
    enum stream_status status =
        stream_read(relay->backend, scratch + held, REPLIES_BYTES, &got);
    if (status != STREAM_OK)
        return status;

    buffer_release(&relay->reply);
    size_t taken = relay_take_replies(relay, scratch, held + got);
    size_t left = held + got - taken;
    if (relay->end.over || !relay->backend)
        return status;
    if (left > SMTP_REPLY_LINE_LIMIT)
        relay_finish(relay, REPLY_BACKEND_NONSENSE, "backend sent an over-long line");
    else if (left > 0 && !buffer_append(&relay->reply, scratch + taken, left))
        relay_finish(relay, REPLY_NO_MEMORY, "out of memory");
    return status;
}

/* Is the reply to QUIT the only one that is still to come, and has none of it come? */
static bool awaits_farewell(const struct relay *relay)
{
    return relay->queue_count == 1 && relay_queue_first(relay) == EXPECT_QUIT &&
           !relay->in_reply && relay->backend;
}

void relay_lose_backend(struct relay *relay, enum reply reply, const char *cause)
{
    bool is_quit = awaits_farewell(relay);
    relay_finish(relay, is_quit ? REPLY_BYE : reply, cause);
    relay->end.quit |= is_quit;
}

void relay_backend_event(struct relay *relay, enum stream_event event)
{
    note_activity(relay);
    if (event == STREAM_FAILED)
        relay_lose_backend(relay, REPLY_BACKEND_CLOSED, stream_error(relay->backend));
    else if (event == STREAM_READABLE && read_backend(relay) == STREAM_EOF)
        relay_lose_backend(relay, REPLY_BACKEND_CLOSED, "backend closed");
    settle(relay);
}

void relay_stop(struct relay *relay)
{
    relay->stopping = true;
    settle(relay);
}

/* Nothing of the client's has gone out after a whole message, so that its reply is the last
 * that is owed. */
void relay_finish_after_verdict(struct relay *relay, enum reply reply, const char *cause)
{
    if (!relay_awaits_verdict(relay))
        relay_finish(relay, reply, cause);
    else if (relay->mode != RELAY_CLOSING)
        relay_close(relay, reply, cause);
    settle(relay);
}
