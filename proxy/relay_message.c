/*
 * Messages and chunks in the relay: the client's bytes go through the scanner to the backend,
 * or nowhere. Called by relay_commands.c (what the client sends) and relay_replies.c (what the
 * backend has said to it). Owns nothing. Never lets a byte of a message reach a backend that
 * has not said that it reads one.
 *
 * A server may refuse BDAT without reading the chunk, whose lines would be commands to it. So
 * the first chunk of a message is preceded by one without a line that could be a command, its
 * opening: the Received field, or the first byte alone. A server that accepts it reads chunks.
 * So is a chunk after another command, as some servers forget a message when they refuse one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/relay_internal.h"
#include "proxy/statistics.h"

/* Pieces of a message in one write: runs and what stands between them. */
#define PIECES 64

/* An empty line, after which no field can be continued. */
static const char header_end[] = "\r\n";
#define HEADER_END_LENGTH (sizeof header_end - 1)

/*
 * Could a line that begins so be a part of the field above it, for one server or another?
 * Blanks and control characters could, and a dot that the server takes away from before one.
 * The first byte decides, as the second may not have come. Where no CR is bare, one is the
 * beginning of an empty line, which is none.
 */
static bool may_continue_field(unsigned char first, bool has_bare_cr)
{
    if (first == '\r')
        return has_bare_cr;
    return first <= ' ' || first >= 0x7f || first == '.' || first == ':';
}

void relay_leave_backend(struct relay *relay, const char *cause)
{
    relay_record(relay, RELAY_REFUSED);
    stream_free(relay->backend);
    relay->backend = NULL;
    relay->silenced = true;
    relay->message_unanswered = false;
    relay->closing_cause = cause;
    if (relay->mode == RELAY_AWAITING)
        relay->mode = RELAY_CHUNK;
    if (relay->mode == RELAY_COMMANDS)
        relay_finish(relay, REPLY_NONE, cause);
}

/* For the log, without its CRLF. */
static void note_own_reply(struct relay *relay, enum reply reply)
{
    const struct reply_text *text = reply_text(reply);
    envelope_note_reply(&relay->envelope, text->text, text->length - 2u);
}

/* A message that Postern itself refuses, whether its end has come or not. */
static void refuse_message(struct relay *relay, enum reply reply, const char *cause)
{
    note_own_reply(relay, reply);
    relay_queue_pop(relay);
    relay_answer(relay, reply);
    relay_leave_backend(relay, cause);
}

/* The backend has refused the message that these bytes are of, or Postern the chunk. */
static void drop(struct relay *relay, size_t length)
{
    relay->dropped_bytes += length;
    bool all = !relay->backend && relay->mode == RELAY_COMMANDS;
    if (all || relay->dropped_bytes > RELAY_DROPPED_LIMIT_BYTES)
        relay_finish(relay, REPLY_NONE, relay->closing_cause);
}

static bool is_dropped(const struct relay *relay)
{
    return relay->silenced || relay->swallows;
}

void relay_begin_message(struct relay *relay)
{
    char trace[SMTP_TRACE_SIZE];
    size_t traced = relay_trace(relay, trace);
    stream_write(relay->backend, trace, traced);
    relay->after_trace = traced > 0;
    relay->mode = RELAY_MESSAGE;
    relay->data = SMTP_DATA_START;
    relay_queue_push(relay, EXPECT_MESSAGE);
}

static bool rejects(const struct relay *relay)
{
    return relay->data.repaired > 0 &&
           relay->service->config->bare_newline == CONFIG_BARE_NEWLINE_REJECT;
}

/* Keeps the message's first line from being a part of the trace field above it. */
static int separate(struct relay *relay, char first, struct iovec *out)
{
    relay->after_trace = false;
    if (!may_continue_field((unsigned char)first, false))
        return 0;
    *out = (struct iovec){(void *)(uintptr_t)header_end, HEADER_END_LENGTH};
    return 1;
}

/* What a step of the scanner lets through; returns how many pieces that is, at most 3. */
static int add_pieces(struct relay *relay, const struct smtp_data_step *step, const char *bytes,
                      struct iovec *out)
{
    int count = 0;
    if (relay->after_trace && step->run + step->insert_length > 0)
        count = separate(relay, step->run > 0 ? *bytes : *step->insert, out);
    if (step->run > 0)
        out[count++] = (struct iovec){(void *)(uintptr_t)bytes, step->run};
    if (step->insert_length > 0)
        out[count++] = (struct iovec){(void *)(uintptr_t)step->insert, step->insert_length};
    return count;
}

/* The metric counts all that came; the session's record what was replaced. */
static void count_repaired(struct relay *relay, uint64_t before)
{
    if (!rejects(relay))
        relay->counts.repaired += relay->data.repaired - before;
    statistics_add(&statistics->repaired, relay->data.repaired - before);
}

size_t relay_take_message(struct relay *relay, const char *bytes, size_t length)
{
    struct iovec pieces[PIECES];
    int count = 0;
    size_t taken = 0;
    uint64_t repaired = relay->data.repaired;

    while (taken < length && relay->mode == RELAY_MESSAGE && count + 3 <= PIECES) {
        struct smtp_data_step step;
        smtp_data_step(&relay->data, bytes + taken, length - taken, &step);
        count += add_pieces(relay, &step, bytes + taken, pieces + count);
        taken += step.consumed;
        if (step.status == SMTP_DATA_FOUND) {
            relay->mode = RELAY_COMMANDS;
            relay->message_unanswered = true;
        }
    }
    relay->message_bytes += taken;
    if (is_dropped(relay)) {
        drop(relay, taken);
        return taken;
    }
    count_repaired(relay, repaired);
    if (rejects(relay))
        refuse_message(relay, REPLY_BARE_NEWLINE, "bare line end in a message");
    else
        stream_writev(relay->backend, pieces, count);
    return taken;
}

/* BDAT for a chunk whose first bytes are `ahead`, or that is no more than that. */
static void send_bdat(struct relay *relay, uint64_t size, bool last, const char *ahead,
                      size_t length, uint8_t expectation)
{
    char line[sizeof "BDAT 18446744073709551615 LAST"];
    int written = snprintf(line, sizeof line, "BDAT %" PRIu64 "%s", size, last ? " LAST" : "");
    relay_forward(relay, line, (size_t)written, expectation);
    stream_write(relay->backend, ahead, length);
}

/* The client's chunk, but for what the backend has of it; `trace` comes before it. */
static void send_chunk(struct relay *relay, const char *trace, size_t traced)
{
    bool last = relay->is_last_chunk;
    bool has_bytes = relay->chunk_left_bytes > 0;
    uint64_t size = relay->chunk_left_bytes - relay->chunk_ahead_bytes;
    send_bdat(relay, size + traced, last, trace, traced,
              last ? EXPECT_LAST_CHUNK : EXPECT_CHUNK);
    relay->reads_chunks |= has_bytes;
    relay->in_chunks |= has_bytes;
    relay->mode = has_bytes ? RELAY_CHUNK : RELAY_COMMANDS;
    relay->message_unanswered = !has_bytes;
}

void relay_chunk_is_open(struct relay *relay)
{
    send_chunk(relay, NULL, 0);
}

/* The first chunk that has something in it, or the first after another command. A single byte
 * is no line, and goes without an opening. */
static void open_message(struct relay *relay)
{
    char opening[SMTP_TRACE_SIZE + HEADER_END_LENGTH];
    size_t length = relay->in_chunks ? 0 : relay_trace(relay, opening);
    unsigned char first = (unsigned char)relay->next_byte;

    if (length == 0 && relay->chunk_left_bytes == 1) {
        send_chunk(relay, NULL, 0);
        return;
    }
    relay->chunk_ahead_bytes = length == 0;
    if (length == 0) {
        opening[length++] = (char)first;
    } else if (may_continue_field(first, relay->is_binary)) {
        memcpy(opening + length, header_end, HEADER_END_LENGTH);
        length += HEADER_END_LENGTH;
    }
    send_bdat(relay, length, false, opening, length, EXPECT_OPENING);
    relay->mode = RELAY_AWAITING;
}

/* A whole message of nothing. */
static void send_empty_message(struct relay *relay)
{
    char trace[SMTP_TRACE_SIZE];
    send_chunk(relay, trace, relay_trace(relay, trace));
}

/* The last chunk is empty, and so never a chunk of the backend's. */
static void refuse_at_end(struct relay *relay)
{
    note_own_reply(relay, REPLY_BARE_NEWLINE);
    relay_record(relay, RELAY_REFUSED);
    relay_finish(relay, REPLY_BARE_NEWLINE, "bare line end in a message");
}

void relay_begin_chunk(struct relay *relay, uint64_t size, bool last)
{
    relay->chunk_left_bytes = size;
    relay->chunk_ahead_bytes = 0;
    relay->is_last_chunk = last;
    if (!relay->in_chunks)
        relay->chunk = SMTP_CHUNK_START;

    if (size == 0 && last && !relay->is_binary && !smtp_chunk_may_end(&relay->chunk))
        refuse_at_end(relay);
    else if (relay->reads_chunks || (size == 0 && (!last || relay->in_chunks)))
        send_chunk(relay, NULL, 0);
    else if (size == 0)
        send_empty_message(relay);
    else
        open_message(relay);
}

/* What a chunk has in it cannot be repaired, as its size has been said. */
static bool has_bare_line_end(struct relay *relay, const char *bytes, size_t length)
{
    if (relay->is_binary)
        return false;
    bool is_end = relay->chunk_left_bytes == 0 && relay->is_last_chunk;
    return !smtp_chunk_scan(&relay->chunk, bytes, length) ||
           (is_end && !smtp_chunk_may_end(&relay->chunk));
}

size_t relay_take_chunk(struct relay *relay, const char *bytes, size_t length)
{
    size_t piece = length < relay->chunk_left_bytes ? length : (size_t)relay->chunk_left_bytes;
    relay->chunk_left_bytes -= piece;
    relay->message_bytes += relay->swallows ? 0 : piece;
    if (relay->chunk_left_bytes == 0) {
        relay->mode = RELAY_COMMANDS;
        relay->message_unanswered = !relay->swallows;
    }
    if (is_dropped(relay)) {
        drop(relay, piece);
        relay->swallows &= relay->chunk_left_bytes > 0;
    } else if (has_bare_line_end(relay, bytes, piece)) {
        refuse_message(relay, REPLY_BARE_NEWLINE, "bare line end in a message");
    } else {
        size_t ahead = relay->chunk_ahead_bytes;
        stream_writev(relay->backend,
                      &(struct iovec){(void *)(uintptr_t)(bytes + ahead), piece - ahead}, 1);
        relay->chunk_ahead_bytes = 0;
    }
    return piece;
}
