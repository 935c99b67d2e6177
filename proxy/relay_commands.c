/*
 * The client's half of the relay: command lines against the table of what may pass, messages
 * through the scanner, chunks by their size. Whatever is not in the table never reaches the
 * backend (threat 4).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/relay_internal.h"
#include "proxy/smtp/command.h"
#include "proxy/statistics.h"

/* Pieces of a message in one write: runs and what stands between them. */
#define PIECES 64

typedef void command_handler(struct relay *relay, const struct smtp_command *command,
                             const char *line, size_t length);

void relay_refuse(struct relay *relay, enum reply reply)
{
    statistics_add(&statistics->rejected[reply], 1);
    relay_answer(relay, reply);
    if (++relay->errors < relay->service->config->limits.errors)
        return;
    statistics_add(&statistics->limits[STATISTICS_LIMIT_ERRORS], 1);
    relay_close(relay, REPLY_TOO_MANY_ERRORS, "too many errors");
}

void relay_forward(struct relay *relay, const char *line, size_t length, uint8_t expectation)
{
    relay_queue_push(relay, expectation);
    stream_write(relay->backend, line, length);
    stream_write(relay->backend, "\r\n", 2);
}

/* What is offered behind it is not known before the reply has come; until then it ends a group.
 */
static void forward_hello(struct relay *relay, const struct smtp_command *command,
                          const char *line, size_t length)
{
    if (!smtp_helo_name_valid(command->arguments, command->arguments_length)) {
        relay_refuse(relay, REPLY_HELO_NAME);
        return;
    }
    relay_forward(relay, line, length,
                  command->verb == SMTP_VERB_EHLO ? EXPECT_EHLO : EXPECT_HELO);
}

static void reset(struct relay *relay, const struct smtp_command *command, const char *line,
                  size_t length)
{
    (void)command;
    relay->in_chunks = false;
    relay_forward(relay, line, length, EXPECT_RESET);
}

static void forward_data(struct relay *relay, const struct smtp_command *command,
                         const char *line, size_t length)
{
    (void)command;
    relay_forward(relay, line, length, EXPECT_DATA);
    relay->mode = RELAY_AWAITING_DATA;
}

/* Would a line that begins so be a part of the field above it, for one server or another? */
static bool continues_field(char first)
{
    return (unsigned char)first <= ' ' && first != '\r' && first != '\n';
}

/* An empty line, behind which no field can be continued. */
static const char header_end[] = "\r\n";
#define HEADER_END_LENGTH (sizeof header_end - 1)

/* The trace field goes into the first chunk that has something in it, which is that much longer
 * then. `first` is the byte that it begins with. */
static size_t trace_chunk(struct relay *relay, uint64_t size, bool last, char first,
                          char out[static SMTP_TRACE_SIZE + HEADER_END_LENGTH])
{
    if (relay->in_chunks || (size == 0 && !last))
        return 0;
    size_t length = relay_trace(relay, out);
    if (length == 0 || size == 0 || !continues_field(first))
        return length;
    memcpy(out + length, header_end, HEADER_END_LENGTH);
    return length + HEADER_END_LENGTH;
}

static void begin_chunk(struct relay *relay, uint64_t size, bool last, char first)
{
    char line[sizeof "BDAT 18446744073709551615 LAST"];
    char trace[SMTP_TRACE_SIZE + HEADER_END_LENGTH];
    size_t traced = trace_chunk(relay, size, last, first, trace);
    int length =
        snprintf(line, sizeof line, "BDAT %" PRIu64 "%s", size + traced, last ? " LAST" : "");

    relay_forward(relay, line, (size_t)length, last ? EXPECT_LAST_CHUNK : EXPECT_CHUNK);
    stream_write(relay->backend, trace, traced);
    relay->in_chunks = !last && (relay->in_chunks || traced > 0);
    relay->chunk_left_bytes = size;
    relay->mode = size > 0 ? RELAY_CHUNK : RELAY_COMMANDS;
}

/* Where the chunk would end is not known when BDAT cannot be read: nothing behind it is (threat
 * 8). */
static void forward_chunk(struct relay *relay, const struct smtp_command *command,
                          const char *line, size_t length)
{
    uint64_t size = 0;
    bool last = false;
    (void)line, (void)length;
    if (relay->withdrawn >> SMTP_EXT_CHUNKING & 1u)
        relay_close(relay, REPLY_CHUNKING_WITHDRAWN, "backend does not offer him CHUNKING");
    else if (!relay->chunking)
        relay_close(relay, REPLY_BDAT_NOT_OFFERED, "BDAT without CHUNKING");
    else if (!smtp_bdat_parse(command->arguments, command->arguments_length, &size, &last) ||
             (relay->party.trace && size > SMTP_BDAT_SIZE_LIMIT - SMTP_TRACE_SIZE))
        relay_close(relay, REPLY_BDAT_SYNTAX, "BDAT that cannot be read");
    else
        begin_chunk(relay, size, last, (char)relay->next_byte);
}

/* EXPN, VRFY and ETRN tell of accounts and start work: for those who are known. */
static void forward_for_users(struct relay *relay, const struct smtp_command *command,
                              const char *line, size_t length)
{
    (void)command;
    if (relay->party.authenticated)
        relay_forward(relay, line, length, EXPECT_ANY);
    else
        relay_refuse(relay, REPLY_NOT_BEFORE_AUTH);
}

static void forward_quit(struct relay *relay, const struct smtp_command *command,
                         const char *line, size_t length)
{
    (void)command;
    relay_forward(relay, line, length, EXPECT_QUIT);
    relay_close(relay, REPLY_NONE, "quit");
}

/* An mx may be spoken to in plaintext, but not change to TLS behind its first MAIL. */
static void refuse_starttls(struct relay *relay, const struct smtp_command *command,
                            const char *line, size_t length)
{
    (void)command, (void)line, (void)length;
    relay_refuse(relay, stream_is_secure(relay->client) ? REPLY_TLS_ACTIVE : REPLY_NO_STARTTLS);
}

static void close_foreign(struct relay *relay, const struct smtp_command *command,
                          const char *line, size_t length)
{
    (void)command, (void)line, (void)length;
    relay_close(relay, REPLY_FOREIGN_PROTOCOL, "another protocol's command");
}

/* What becomes of each verb: a handler, or its reply from here, or forwarded as it is. */
static const struct {
    command_handler *handler;
    enum reply reply;
    enum relay_expectation expectation;
    bool alone; /* goes only when all before it is answered */
} policies[SMTP_VERB_COUNT] = {
    [SMTP_VERB_UNKNOWN] = {.reply = REPLY_UNKNOWN_COMMAND},
    [SMTP_VERB_EHLO] = {.handler = forward_hello},
    [SMTP_VERB_HELO] = {.handler = forward_hello},
    [SMTP_VERB_MAIL] = {.handler = relay_mail},
    [SMTP_VERB_RCPT] = {.handler = relay_recipient},
    [SMTP_VERB_DATA] = {.handler = forward_data},
    [SMTP_VERB_BDAT] = {.handler = forward_chunk},
    [SMTP_VERB_RSET] = {.handler = reset},
    [SMTP_VERB_NOOP] = {.expectation = EXPECT_ANY},
    [SMTP_VERB_QUIT] = {.handler = forward_quit},
    [SMTP_VERB_VRFY] = {.handler = forward_for_users},
    [SMTP_VERB_EXPN] = {.handler = forward_for_users},
    [SMTP_VERB_HELP] = {.expectation = EXPECT_ANY},
    [SMTP_VERB_ETRN] = {.handler = forward_for_users, .alone = true},
    [SMTP_VERB_STARTTLS] = {.handler = refuse_starttls},
    [SMTP_VERB_AUTH] = {.reply = REPLY_AUTH_AGAIN},
    [SMTP_VERB_IDENTITY] = {.reply = REPLY_ONLY_PROXIES},
    [SMTP_VERB_FOREIGN] = {.handler = close_foreign},
};

/* A chunk that may get the trace field: whether it does is known when all before is answered,
 * and how that ends when its first byte is there. */
static bool may_be_traced(const struct relay *relay, const struct smtp_command *command)
{
    return command->verb == SMTP_VERB_BDAT && relay->party.trace && relay->chunking;
}

static bool lacks_first_byte(const struct relay *relay, const struct smtp_command *command)
{
    uint64_t size;
    bool last;
    return relay->next_byte < 0 &&
           smtp_bdat_parse(command->arguments, command->arguments_length, &size, &last) &&
           size > 0;
}

/* Has the command's turn come? */
static bool has_turn(struct relay *relay, const struct smtp_command *command)
{
    bool traced = may_be_traced(relay, command);
    relay->alone = policies[command->verb].alone || traced;
    return (!relay->alone || relay->queue_count == 0) &&
           (!traced || !lacks_first_byte(relay, command));
}

/* Returns false for a command whose turn has not come: nothing has become of it. */
static bool take_command(struct relay *relay, const char *line, size_t length)
{
    struct smtp_command command;
    enum smtp_command_status status = smtp_command_parse(line, length, &command);
    if (!has_turn(relay, &command))
        return false;
    if (status != SMTP_COMMAND_OK)
        relay_refuse(relay, REPLY_BAD_BYTE);
    else if (policies[command.verb].handler)
        policies[command.verb].handler(relay, &command, line, length);
    else if (policies[command.verb].reply != REPLY_NONE)
        relay_refuse(relay, policies[command.verb].reply);
    else
        relay_forward(relay, line, length, (uint8_t)policies[command.verb].expectation);
    return true;
}

/* The rest of an over-long line, up to and with its end. */
static size_t skip_line(struct relay *relay, const char *bytes, size_t length)
{
    const char *end = memchr(bytes, '\n', length);
    relay->skipping_line = !end;
    return end ? (size_t)(end - bytes) + 1 : length;
}

static size_t take_line(struct relay *relay, const char *bytes, size_t length)
{
    if (relay->skipping_line)
        return skip_line(relay, bytes, length);

    size_t look = length < SMTP_COMMAND_LIMIT ? length : SMTP_COMMAND_LIMIT;
    const char *end = memchr(bytes, '\n', look);
    if (end) {
        size_t line = (size_t)(end - bytes);
        relay->next_byte = line + 1 < length ? (unsigned char)end[1] : -1;
        bool taken = take_command(relay, bytes, line > 0 && end[-1] == '\r' ? line - 1 : line);
        return taken ? line + 1 : 0;
    }
    if (length < SMTP_COMMAND_LIMIT)
        return 0;
    relay_refuse(relay, REPLY_LINE_TOO_LONG);
    return skip_line(relay, bytes, length);
}

static bool rejects(const struct relay *relay)
{
    return relay->data.repaired > 0 &&
           relay->service->config->bare_newline == CONFIG_BARE_NEWLINE_REJECT;
}

/* Keeps the message's first line from being a part of the trace field above it, if it would. */
static int separate(struct relay *relay, char first, struct iovec *out)
{
    relay->behind_trace = false;
    if (!continues_field(first))
        return 0;
    *out = (struct iovec){(void *)(uintptr_t)header_end, HEADER_END_LENGTH};
    return 1;
}

/* What a step of the scanner lets through; returns how many pieces that is, at most 3. */
static int add_pieces(struct relay *relay, const struct smtp_data_step *step, const char *bytes,
                      struct iovec *out)
{
    int count = 0;
    if (relay->behind_trace && step->run + step->insert_length > 0)
        count = separate(relay, step->run > 0 ? *bytes : *step->insert, out);
    if (step->run > 0)
        out[count++] = (struct iovec){(void *)(uintptr_t)bytes, step->run};
    if (step->insert_length > 0)
        out[count++] = (struct iovec){(void *)(uintptr_t)step->insert, step->insert_length};
    return count;
}

/* Sends pieces of a message on, without a copy, until it ends or the input does. */
static size_t take_message(struct relay *relay, const char *bytes, size_t length)
{
    struct iovec pieces[PIECES];
    int count = 0;
    size_t taken = 0;

    while (taken < length && relay->mode == RELAY_MESSAGE && count + 3 <= PIECES) {
        struct smtp_data_step step;
        uint64_t repaired = relay->data.repaired;
        smtp_data_step(&relay->data, bytes + taken, length - taken, &step);
        count += add_pieces(relay, &step, bytes + taken, pieces + count);
        taken += step.consumed;
        relay->counts.repaired += relay->data.repaired - repaired;
        statistics_add(&statistics->repaired, relay->data.repaired - repaired);
        if (step.status == SMTP_DATA_FOUND) {
            relay->mode = RELAY_COMMANDS;
            relay->message_unanswered = relay->queue_count > 0; /* not refused already */
        }
    }
    if (rejects(relay))
        relay_finish(relay, REPLY_BARE_NEWLINE, "bare line end in a message");
    else
        stream_writev(relay->backend, pieces, count);
    return taken;
}

static size_t take_chunk(struct relay *relay, const char *bytes, size_t length)
{
    size_t piece = length < relay->chunk_left_bytes ? length : (size_t)relay->chunk_left_bytes;
    stream_writev(relay->backend, &(struct iovec){(void *)(uintptr_t)bytes, piece}, 1);
    relay->chunk_left_bytes -= piece;
    if (relay->chunk_left_bytes == 0)
        relay->mode = RELAY_COMMANDS;
    return piece;
}

size_t relay_take_input(struct relay *relay, const char *bytes, size_t length)
{
    size_t taken = 0, step = 1;
    while (taken < length && step > 0 && !relay_is_blocked(relay)) {
        const char *next = bytes + taken;
        if (relay->mode == RELAY_MESSAGE)
            step = take_message(relay, next, length - taken);
        else if (relay->mode == RELAY_CHUNK)
            step = take_chunk(relay, next, length - taken);
        else
            step = take_line(relay, next, length - taken);
        taken += step;
    }
    return taken;
}
