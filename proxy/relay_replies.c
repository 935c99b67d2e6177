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
    while (!relay->end.over && relay->queue_count > 0 &&
           relay_queue_first(relay) & EXPECT_LOCAL) {
        const struct reply_text *text =
            reply_text((enum reply)(relay_queue_first(relay) & ~EXPECT_LOCAL));
        relay_queue_pop(relay);
        relay_say(relay, text->text, text->length);
    }
}

bool relay_expects_chunk(const struct relay *relay)
{
    return relay->in_transaction && relay->has_recipient;
}

static void forget_envelope(struct relay *relay)
{
    if (relay->in_transaction)
        relay_record_left(relay);
    relay->in_transaction = relay->has_recipient = false;
    relay->in_chunks = relay->reads_chunks = false;
}

static void begin_envelope(struct relay *relay, bool is_binary)
{
    forget_envelope(relay);
    relay_record_begin(relay);
    relay->in_transaction = true;
    relay->is_binary = is_binary;
}

static void after_data(struct relay *relay, unsigned code)
{
    relay->mode = RELAY_COMMANDS;
    relay->data_refused = code != 354 && relay->has_recipient;
    if (code == 354)
        relay_begin_message(relay);
}

/* The log names a sender that the backend refuses; another MAIL within a transaction is only a
 * mistake. */
static void after_mail(struct relay *relay, uint8_t expectation, bool good)
{
    if (good) {
        begin_envelope(relay, expectation == EXPECT_BINARY_MAIL);
    } else if (relay->in_transaction) {
        envelope_skip(&relay->envelope);
    } else {
        relay_record_begin(relay);
        if (relay->refusal)
            envelope_note_reply(&relay->envelope, relay->refusal, strlen(relay->refusal));
        relay_record(relay, RELAY_REFUSED);
    }
}

static void after_recipient(struct relay *relay, bool good)
{
    relay->counts.recipients += good;
    relay->has_recipient |= good;
    statistics_add(&statistics->recipients[0], good);
    if (!relay->in_transaction) {
        envelope_skip(&relay->envelope);
    } else if (good) {
        envelope_accept(&relay->envelope);
        relay->data_refused = false;
    } else {
        envelope_refuse(&relay->envelope);
    }
}

static void end_transaction(struct relay *relay, bool accepted)
{
    relay_record(relay, accepted ? RELAY_ACCEPTED : RELAY_REFUSED);
    forget_envelope(relay);
    relay->message_unanswered = false;
    relay->counts.messages += accepted;
    if (accepted)
        relay->errors = 0;
    statistics_add(&statistics->messages, accepted);
}

/* One that is refused changes nothing (RFC 5321 section 4.1.4). HELO takes back what EHLO had
 * offered (threat 8); what EHLO offers has been learned from the lines of its 250. */
static void after_hello(struct relay *relay, uint8_t expectation, unsigned code)
{
    if (code / 100 != 2)
        return;
    forget_envelope(relay);
    relay->withdrawn = 0;
    if (expectation == EXPECT_HELO || code != 250)
        relay->chunking = relay->pipelining = false;
}

/* The whole reply to `expectation` has come, and lets the session go on. */
static void take_reply(struct relay *relay, uint8_t expectation, unsigned code)
{
    bool good = code / 100 == 2;

    switch (expectation) {
    case EXPECT_DATA:
        after_data(relay, code);
        break;
    case EXPECT_MESSAGE:
    case EXPECT_LAST_CHUNK:
        end_transaction(relay, good);
        break;
    case EXPECT_OPENING:
        relay_chunk_is_open(relay);
        break;
    case EXPECT_CHUNK:
        relay->message_unanswered = false;
        break;
    case EXPECT_MAIL:
    case EXPECT_BINARY_MAIL:
        after_mail(relay, expectation, good);
        break;
    case EXPECT_RCPT:
        after_recipient(relay, good);
        break;
    case EXPECT_EHLO:
    case EXPECT_HELO:
        after_hello(relay, expectation, code);
        break;
    case EXPECT_RESET:
        if (good)
            forget_envelope(relay);
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
 * recipient was accepted. */
static bool is_refusal(const struct relay *relay, uint8_t expectation)
{
    switch (expectation) {
    case EXPECT_MAIL:
    case EXPECT_BINARY_MAIL:
        return !relay->in_transaction;
    case EXPECT_RCPT:
        return relay->in_transaction;
    case EXPECT_DATA:
    case EXPECT_MESSAGE:
    case EXPECT_OPENING:
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
    if (expectation != EXPECT_RCPT || !relay->has_recipient)
        envelope_note_reply(&relay->envelope, bytes, length);
    if (!relay->refusal)
        relay->refusal = slab_alloc(RELAY_REFUSAL_SIZE);
    if (!relay->refusal)
        return;
    size_t kept = length < RELAY_REFUSAL_SIZE ? length : RELAY_REFUSAL_SIZE - 1;
    memcpy(relay->refusal, bytes, kept);
    relay->refusal[kept] = '\0';
}

static void say_line(struct relay *relay, const struct smtp_reply_line *line, const char *bytes,
                     size_t length)
{
    relay_say(relay, bytes, length);
    relay_say(relay, "\r\n", 2);
    relay->in_reply = !line->last;
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
        say_line(relay, line, bytes, length);
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

static const char said_421[] = "backend said 421";

/* 421 may come at any time (RFC 5321 section 3.8); nothing else may. The backend may still
 * answer what it is asked, but whether it does nobody knows: the session ends. */
static void take_unasked(struct relay *relay, const struct smtp_reply_line *line,
                         const char *bytes, size_t length)
{
    if (line->code != 421) {
        nonsense(relay, "backend sent a reply that nobody asked for");
        return;
    }
    say_line(relay, line, bytes, length);
    if (line->last)
        relay_finish(relay, REPLY_NONE, said_421);
}

/* Does the backend answer a message, or a part of one? */
static bool is_of_message(uint8_t expectation)
{
    return expectation == EXPECT_MESSAGE || expectation == EXPECT_OPENING ||
           expectation == EXPECT_CHUNK || expectation == EXPECT_LAST_CHUNK;
}

/* Why this cannot be the answer to what was asked; NULL: it can. */
static const char *fault_of(const struct relay *relay, uint8_t expectation, unsigned code)
{
    if (expectation == EXPECT_DATA)
        return code == 354 || code >= 400 ? NULL : "backend answered DATA with another code";
    if (code / 100 == 3)
        return "backend asked for more where nothing can follow";
    bool is_early = relay_is_half(relay, 0) || stream_queued(relay->backend) > 0;
    if (code / 100 == 2 && is_of_message(expectation) && is_early)
        return "backend accepted a message that was not at its end";
    return NULL;
}

/* Has the backend perhaps not read all that it was sent of a message? It hears no more then. */
static bool leaves_rest_unread(const struct relay *relay, uint8_t expectation, unsigned code)
{
    if (code < 400)
        return false;
    if (expectation == EXPECT_MESSAGE)
        return relay_is_half(relay, 0) || stream_queued(relay->backend) > 0;
    return is_of_message(expectation);
}

static void begin_refusal(struct relay *relay, uint8_t expectation, unsigned code,
                          const char *bytes, size_t length)
{
    note_refusal(relay, expectation, bytes, length);
    if (!leaves_rest_unread(relay, expectation, code))
        return;
    relay->silenced = true;
    stream_silence(relay->backend);
}

static void hear_line(struct relay *relay, uint8_t expectation,
                      const struct smtp_reply_line *line, const char *bytes, size_t length)
{
    if (expectation == EXPECT_EHLO)
        take_ehlo_line(relay, line, bytes, length);
    else if (expectation != EXPECT_OPENING || line->code >= 400)
        say_line(relay, line, bytes, length);
}

/* What was asked first is answered. */
static void end_reply(struct relay *relay, uint8_t expectation, unsigned code)
{
    relay_queue_pop(relay);
    if (relay->silenced)
        relay_leave_backend(relay, code == 421 ? said_421
                                   : expectation == EXPECT_MESSAGE
                                       ? "backend refused a message before its end"
                                       : "backend refused a chunk");
    else
        take_reply(relay, expectation, code);
    if (code == 421 && !relay->silenced)
        relay_finish(relay, REPLY_NONE, said_421);
    say_local(relay);
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
        take_unasked(relay, &line, bytes, length);
        return;
    }
    uint8_t expectation = relay_queue_first(relay);
    const char *fault = fault_of(relay, expectation, line.code);
    if (fault) {
        nonsense(relay, fault);
        return;
    }
    if (is_first && line.code >= 400)
        begin_refusal(relay, expectation, line.code, bytes, length);
    else if (is_first && (expectation == EXPECT_MESSAGE || expectation == EXPECT_LAST_CHUNK))
        envelope_note_reply(&relay->envelope, bytes, length);
    hear_line(relay, expectation, &line, bytes, length);
    if (status == SMTP_REPLY_DONE)
        end_reply(relay, expectation, line.code);
}

size_t relay_take_replies(struct relay *relay, char *bytes, size_t length)
{
    size_t taken = 0;
    while (!relay->end.over && relay->backend) {
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
