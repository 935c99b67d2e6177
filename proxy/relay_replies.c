/*
 * The backend's half of the relay: each reply is matched with what was asked, counted, and
 * passed on as it is, but for the reply to EHLO, of which only what the relay carries is passed
 * on. A backend that answers what nobody asked has lost the thread, and the session ends.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/base/slab.h"
#include "proxy/relay_internal.h"
#include "proxy/statistics.h"

static void nonsense(struct relay *relay, const char *cause)
{
    relay_finish(relay, REPLY_BACKEND_NONSENSE, cause);
}

/* Replies of our own whose turn has come. */
static void say_local(struct relay *relay)
{
    while (relay->queue_count > 0 && relay_queue_first(relay) & EXPECT_LOCAL) {
        const struct reply_text *text =
            reply_text((enum reply)(relay_queue_first(relay) & ~EXPECT_LOCAL));
        relay_queue_pop(relay);
        relay_say(relay, text->text, text->length);
    }
}

static void begin_message(struct relay *relay, unsigned code)
{
    if (relay->mode != RELAY_AWAITING_DATA)
        return;
    relay->mode = RELAY_COMMANDS;
    if (code != 354)
        return;
    char trace[SMTP_TRACE_SIZE];
    size_t traced = relay_trace(relay, trace);
    stream_write(relay->backend, trace, traced);
    relay->behind_trace = traced > 0;
    relay->mode = RELAY_MESSAGE;
    relay->data = SMTP_DATA_START;
    relay_queue_push(relay, EXPECT_MESSAGE);
}

static void end_transaction(struct relay *relay, bool accepted)
{
    relay->in_transaction = relay->in_chunks = relay->has_recipient = false;
    relay->counts.messages += accepted;
    statistics_add(&statistics->messages, accepted);
}

/* One that is refused changes nothing (RFC 5321 section 4.1.4). HELO takes back what EHLO had
 * offered (threat 8); what EHLO offers has been learned from the lines of its 250. */
static void after_hello(struct relay *relay, uint8_t expectation, unsigned code)
{
    if (code / 100 != 2)
        return;
    relay->in_transaction = relay->in_chunks = false;
    relay->withdrawn = 0;
    if (expectation == EXPECT_HELO || code != 250)
        relay->chunking = relay->pipelining = false;
}

/* The whole reply to `expectation` has come. */
static void take_reply(struct relay *relay, uint8_t expectation, unsigned code)
{
    bool good = code / 100 == 2;
    if (code == 421)
        relay->backend_took_leave = true;

    switch (expectation) {
    case EXPECT_DATA:
        begin_message(relay, code);
        break;
    case EXPECT_MESSAGE:
        relay->message_unanswered = false;
        end_transaction(relay, good);
        break;
    case EXPECT_LAST_CHUNK:
        end_transaction(relay, good);
        break;
    case EXPECT_CHUNK:
        relay->in_chunks &= good;
        break;
    case EXPECT_MAIL:
        relay->in_transaction |= good;
        relay->in_chunks &= !good;
        relay->has_recipient &= !good;
        break;
    case EXPECT_RCPT:
        relay->counts.recipients += good;
        relay->has_recipient |= good;
        statistics_add(&statistics->recipients[0], good);
        break;
    case EXPECT_EHLO:
    case EXPECT_HELO:
        after_hello(relay, expectation, code);
        break;
    case EXPECT_RESET:
        relay->in_transaction &= !good;
        break;
    case EXPECT_QUIT:
        relay_finish(relay, REPLY_NONE, "quit");
        relay->end.quit = true;
        break;
    default:
        break;
    }
}

/* A recipient or a message; not what only follows from another refusal, as DATA does where no
 * recipient was accepted, or a chunk behind one that was refused. */
static bool is_refusal(const struct relay *relay, uint8_t expectation)
{
    switch (expectation) {
    case EXPECT_MAIL:
        return !relay->in_transaction;
    case EXPECT_RCPT:
        return relay->in_transaction;
    case EXPECT_DATA:
    case EXPECT_MESSAGE:
    case EXPECT_CHUNK:
    case EXPECT_LAST_CHUNK:
        return relay->in_transaction && relay->has_recipient;
    default:
        return false;
    }
}

/* The first line of a reply that refuses what was asked: the log will say what the backend
 * said. Memory for that is taken once, by those who are refused something. */
static void note_refusal(struct relay *relay, uint8_t expectation, const char *bytes,
                         size_t length)
{
    if (!is_refusal(relay, expectation))
        return;
    relay->counts.backend_refused++;
    relay->has_recipient &= expectation != EXPECT_CHUNK;
    if (!relay->refusal)
        relay->refusal = slab_alloc(RELAY_REFUSAL_SIZE);
    if (!relay->refusal)
        return;
    size_t kept = length < RELAY_REFUSAL_SIZE ? length : RELAY_REFUSAL_SIZE - 1;
    memcpy(relay->refusal, bytes, kept);
    relay->refusal[kept] = '\0';
}

static void say_line(struct relay *relay, const char *line, size_t length)
{
    relay_say(relay, line, length);
    relay_say(relay, "\r\n", 2);
}

static void say_ehlo(struct relay *relay)
{
    char text[SMTP_EHLO_TEXT_SIZE];
    struct smtp_ehlo_own own = {
        .hostname = relay->service->config->hostname,
        .withheld = relay->party.listen->withhold,
    };
    if (!relay->party.login)
        own.withheld |= SMTP_EXT_FOR_USERS;
    relay->pipelining = smtp_ehlo_offers(relay->ehlo, SMTP_EXT_PIPELINING);
    relay->chunking = smtp_ehlo_carried(relay->ehlo, own.withheld) >> SMTP_EXT_CHUNKING & 1u;
    relay_say(relay, text, smtp_ehlo_format(relay->ehlo, &own, text));
}

/* Learns the offers of a 250 line by line, and says them when they are complete. */
static void take_ehlo_line(struct relay *relay, const struct smtp_reply_line *line,
                           const char *bytes, size_t length)
{
    if (line->code != 250) {
        say_line(relay, bytes, length);
        return;
    }
    if (!relay->ehlo)
        relay->ehlo = calloc(1, sizeof *relay->ehlo);
    else
        smtp_ehlo_learn(relay->ehlo, line->text, line->text_length);
    if (!relay->ehlo) {
        relay_finish(relay, REPLY_NO_MEMORY, "out of memory");
        return;
    }
    if (!line->last)
        return;
    say_ehlo(relay);
    free(relay->ehlo);
    relay->ehlo = NULL;
}

/* 421 may come at any time (RFC 5321 section 3.8); nothing else may. */
static void take_unasked(struct relay *relay, const struct smtp_reply_line *line,
                         enum smtp_reply_status status, const char *bytes, size_t length)
{
    if (line->code != 421) {
        nonsense(relay, "backend sent a reply that nobody asked for");
        return;
    }
    say_line(relay, bytes, length);
    relay->backend_took_leave = status == SMTP_REPLY_DONE;
}

static void take_line(struct relay *relay, char *bytes, size_t length)
{
    struct smtp_reply_line line;
    bool is_first = relay->reply_state.code == 0;
    smtp_reply_clean(bytes, length);
    enum smtp_reply_status status = smtp_reply_feed(&relay->reply_state, bytes, length, &line);
    if (status == SMTP_REPLY_BROKEN) {
        nonsense(relay, "backend sent something that is not a reply");
        return;
    }
    if (relay->queue_count == 0) {
        take_unasked(relay, &line, status, bytes, length);
        return;
    }
    uint8_t expectation = relay_queue_first(relay);
    if (line.code / 100 == 3 && expectation != EXPECT_DATA) {
        nonsense(relay, "backend asked for more where nothing can follow");
        return;
    }
    if (line.code / 100 == 2 && relay_is_half(relay, 0)) {
        nonsense(relay, "backend accepted a message that was not at its end");
        return;
    }
    if (is_first && line.code >= 400)
        note_refusal(relay, expectation, bytes, length);
    if (expectation == EXPECT_EHLO)
        take_ehlo_line(relay, &line, bytes, length);
    else
        say_line(relay, bytes, length);
    if (status != SMTP_REPLY_DONE)
        return;
    relay_queue_pop(relay);
    take_reply(relay, expectation, line.code);
    say_local(relay);
}

size_t relay_take_replies(struct relay *relay, char *bytes, size_t length)
{
    size_t taken = 0;
    while (!relay->end.over) {
        char *start = bytes + taken;
        char *end = memchr(start, '\n', length - taken);
        if (!end)
            break;
        size_t line = (size_t)(end - start);
        take_line(relay, start, line > 0 && end[-1] == '\r' ? line - 1 : line);
        taken += line + 1;
    }
    return taken;
}
