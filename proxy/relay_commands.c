/*
 * The client's half of the relay: command lines against the table of what may pass, messages
 * and chunks are relay_message.c's. Whatever is not in the table never reaches the
 * backend (threat 4).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/relay_internal.h"
#include "proxy/smtp/command.h"
#include "proxy/statistics.h"

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
    relay->reads_chunks &= expectation == EXPECT_CHUNK || expectation == EXPECT_LAST_CHUNK;
    stream_write(relay->backend, line, length);
    stream_write(relay->backend, "\r\n", 2);
}

/* What is offered behind it is not known before the reply has come; until then it ends a group.
 */
static void forward_hello(struct relay *relay, const struct smtp_command *command,
                          const char *line, size_t length)
{
    char safe[SMTP_HELO_NAME_SIZE];
    bool is_strict = relay->service->config->helo == CONFIG_HELO_STRICT;
    (void)length;
    if (!smtp_helo_name_take(command->arguments, command->arguments_length, is_strict, safe)) {
        relay_refuse(relay, REPLY_HELO_NAME);
        return;
    }
    stream_write(relay->backend, line, command->verb_length);
    stream_write(relay->backend, " ", 1);
    relay_forward(relay, safe, command->arguments_length,
                  command->verb == SMTP_VERB_EHLO ? EXPECT_EHLO : EXPECT_HELO);
}

static void reset(struct relay *relay, const struct smtp_command *command, const char *line,
                  size_t length)
{
    (void)command;
    relay_forward(relay, line, length, EXPECT_RESET);
}

static void forward_data(struct relay *relay, const struct smtp_command *command,
                         const char *line, size_t length)
{
    (void)command;
    relay_forward(relay, line, length, EXPECT_DATA);
    relay->mode = RELAY_AWAITING;
}

/* The bytes of a chunk that is refused here follow it, unless they are too many. */
static void refuse_chunk(struct relay *relay, uint64_t size)
{
    if (size > RELAY_DROPPED_LIMIT_BYTES - relay->dropped_bytes) {
        relay_close(relay, REPLY_BDAT_FIRST, "large chunk without a recipient");
        return;
    }
    relay_refuse(relay, REPLY_BDAT_FIRST);
    if (relay->mode == RELAY_CLOSING || size == 0)
        return;
    relay->chunk_left_bytes = size;
    relay->swallows = true;
    relay->mode = RELAY_CHUNK;
}

/* Where the chunk would end is not known when BDAT cannot be read: nothing after it is read
 * (threat 8). */
static void forward_chunk(struct relay *relay, const struct smtp_command *command,
                          const char *line, size_t length)
{
    uint64_t size = 0;
    bool last = false;
    (void)line, (void)length;
    if (relay->withdrawn >> SMTP_EXT_CHUNKING & 1u)
        relay_close(relay, REPLY_CHUNKING_WITHDRAWN,
                    "backend does not offer the client CHUNKING");
    else if (!relay->chunking)
        relay_close(relay, REPLY_BDAT_NOT_OFFERED, "BDAT without CHUNKING");
    else if (!smtp_bdat_parse(command->arguments, command->arguments_length, &size, &last) ||
             (relay->party.trace && size > SMTP_BDAT_SIZE_LIMIT - SMTP_TRACE_SIZE))
        relay_close(relay, REPLY_BDAT_SYNTAX, "BDAT that cannot be read");
    else if (!relay_expects_chunk(relay))
        refuse_chunk(relay, size);
    else
        relay_begin_chunk(relay, size, last);
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

/* Mailers that keep a connection send AUTH before each message: a repeated one is no mistake.
 */
static void refuse_auth(struct relay *relay, const struct smtp_command *command,
                        const char *line, size_t length)
{
    (void)command, (void)line, (void)length;
    if (relay->party.listen->role == CONFIG_ROLE_MX) {
        relay_refuse(relay, REPLY_NO_AUTH);
        return;
    }
    statistics_add(&statistics->rejected[REPLY_AUTH_AGAIN], 1);
    relay_answer(relay, REPLY_AUTH_AGAIN);
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
    [SMTP_VERB_BDAT] = {.handler = forward_chunk, .alone = true},
    [SMTP_VERB_RSET] = {.handler = reset},
    [SMTP_VERB_NOOP] = {.expectation = EXPECT_ANY},
    [SMTP_VERB_QUIT] = {.handler = forward_quit},
    [SMTP_VERB_VRFY] = {.handler = forward_for_users},
    [SMTP_VERB_EXPN] = {.handler = forward_for_users},
    [SMTP_VERB_HELP] = {.expectation = EXPECT_ANY},
    [SMTP_VERB_ETRN] = {.handler = forward_for_users, .alone = true},
    [SMTP_VERB_STARTTLS] = {.handler = refuse_starttls},
    [SMTP_VERB_AUTH] = {.handler = refuse_auth},
    [SMTP_VERB_IDENTITY] = {.reply = REPLY_ONLY_PROXIES},
    [SMTP_VERB_FOREIGN] = {.handler = close_foreign},
};

/* How a message in chunks begins, or goes on after another command, depends on a first byte. */
static bool lacks_first_byte(const struct relay *relay, const struct smtp_command *command)
{
    uint64_t size;
    bool last;
    return command->verb == SMTP_VERB_BDAT && relay->chunking && relay->next_byte < 0 &&
           relay_expects_chunk(relay) && !relay->reads_chunks &&
           smtp_bdat_parse(command->arguments, command->arguments_length, &size, &last) &&
           size > 0;
}

/* Has the command's turn come? */
static bool has_turn(struct relay *relay, const struct smtp_command *command)
{
    relay->alone = policies[command->verb].alone;
    if (relay->alone && relay->queue_count > 0)
        return false;
    return !lacks_first_byte(relay, command);
}

/*
 * Returns false for a command whose turn has not come: nothing has become of it. A handler gets
 * the line in its one form, with a single blank after the verb and none at the end.
 */
static bool take_command(struct relay *relay, const char *said, size_t said_length)
{
    char line[SMTP_COMMAND_LIMIT];
    struct smtp_command command;
    enum smtp_command_status status = smtp_command_parse(said, said_length, &command);
    if (!has_turn(relay, &command))
        return false;
    size_t length = smtp_command_canonical(&command, said, line);
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

size_t relay_take_input(struct relay *relay, const char *bytes, size_t length)
{
    size_t taken = 0, step = 1;
    while (taken < length && step > 0 && !relay_is_blocked(relay)) {
        const char *next = bytes + taken;
        if (relay->mode == RELAY_MESSAGE)
            step = relay_take_message(relay, next, length - taken);
        else if (relay->mode == RELAY_CHUNK)
            step = relay_take_chunk(relay, next, length - taken);
        else
            step = take_line(relay, next, length - taken);
        taken += step;
    }
    return taken;
}
