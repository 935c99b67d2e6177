/*
 * A stream in TLS 1.3 after its handshake: OpenSSL's object is gone, record.c opens and seals.
 * What one recv() brings is opened straight into the reader's buffer; what is gathered for the
 * client is sealed straight into the output. An idle stream holds its keys and nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/base/slab.h"
#include "tls/stream_internal.h"

/* As OpenSSL has it. */
#define EMPTY_RECORDS_LIMIT 32

/* How many records stand in these bytes; -1: they are not whole records of ciphertext. */
static int count_records(const uint8_t *bytes, size_t length)
{
    int count = 0;
    while (length > 0) {
        if (length < TLS_RECORD_HEADER_SIZE || bytes[0] != TLS_CONTENT_DATA)
            return -1;
        size_t record = TLS_RECORD_HEADER_SIZE + ((size_t)bytes[3] << 8 | bytes[4]);
        if (record > length)
            return -1;
        bytes += record;
        length -= record;
        count++;
    }
    return count;
}

/*
 * In the last step of a server's handshake it reads the client's Finished and sends tickets,
 * and these are the first records under the application's keys, but for early words, which are
 * one: their number is where ours begins.
 */
bool stream_records_take_over(struct stream *stream, size_t sent_from)
{
    struct tls_engine *engine = stream->loop->engine;
    const struct stream_secrets *secrets = stream->secrets;
    int suite = tls_suite_lookup(stream->cipher);
    int sent = count_records((const uint8_t *)buffer_bytes(&stream->output) + sent_from,
                             stream->output.length - sent_from);
    sent += sent >= 0 && stream->spoken;
    if (suite < 0 || sent < 0 || !secrets->has_client || !secrets->has_server)
        return false;

    stream->records = slab_alloc(sizeof *stream->records);
    if (!stream->records)
        return false;
    if (tls_records_init(stream->records, engine, suite, secrets->client, secrets->server,
                         (uint64_t)sent))
        return true;
    stream_records_free(stream);
    return false;
}

void stream_records_free(struct stream *stream)
{
    if (!stream->records)
        return;
    tls_records_wipe(stream->records, stream->loop->engine);
    slab_free(stream->records, sizeof *stream->records);
    stream->records = NULL;
}

static void seal(struct stream *stream, enum tls_content type, const void *content,
                 size_t length)
{
    uint8_t *room = (uint8_t *)buffer_reserve(&stream->output, length + TLS_RECORD_OVERHEAD);
    size_t size = room ? tls_record_seal(stream->records, stream->loop->engine, type, content,
                                         length, room)
                       : 0;
    if (size == 0)
        stream_fail(stream, "a TLS record cannot be made");
    buffer_commit(&stream->output, size);
}

void stream_records_change_key(struct stream *stream)
{
    uint8_t message[64];
    size_t size = tls_record_update_key(stream->records, stream->loop->engine, message);
    if (size == 0 || !buffer_append(&stream->output, message, size))
        stream_fail(stream, "a TLS key cannot be changed");
}

void stream_records_write(struct stream *stream)
{
    const char *bytes = buffer_bytes(&stream->clear);
    size_t left = stream->clear.length;
    while (left > 0 && !stream->failed) {
        size_t piece = left < TLS_RECORD_CONTENT_LIMIT ? left : TLS_RECORD_CONTENT_LIMIT;
        if (stream->records->out.sequence >= TLS_RECORD_KEY_LIMIT)
            stream_records_change_key(stream);
        seal(stream, TLS_CONTENT_DATA, bytes, piece);
        bytes += piece;
        left -= piece;
    }
    buffer_release(&stream->clear);
}

void stream_records_close_notify(struct stream *stream)
{
    static const uint8_t warning_close[] = {1, 0};
    seal(stream, TLS_CONTENT_ALERT, warning_close, sizeof warning_close);
}

/* Tells the other side what is wrong, unless it was its own alert. */
enum stream_status stream_records_fail(struct stream *stream, uint8_t alert)
{
    const uint8_t fatal[] = {2, alert};
    if (alert != 0) {
        seal(stream, TLS_CONTENT_ALERT, fatal, sizeof fatal);
        stream_flush(stream);
    }
    stream_fail(stream, alert ? "malformed TLS record" : "the client sent a TLS alert");
    return STREAM_BROKEN;
}

/* Bytes of this stream in the loop's raw buffer, during one call of stream_records_read(). */
struct raw {
    uint8_t *start;
    size_t length;
};

static struct raw load_input(struct stream *stream)
{
    struct raw raw = {stream->loop->raw, stream->input.length};
    if (raw.length > 0)
        memcpy(raw.start, buffer_bytes(&stream->input), raw.length);
    buffer_release(&stream->input);
    return raw;
}

static void keep_input(struct stream *stream, const struct raw *raw)
{
    if (raw->length > 0 && !buffer_append(&stream->input, raw->start, raw->length))
        stream_fail(stream, "out of memory");
}

/*
 * Receives behind what is there, no more than the reader has room for if a record fits in that:
 * its content takes less. As many records like the last one as fit: who sends much sends them
 * all of one size, and then none is left in halves.
 */
static enum stream_status receive(struct stream *stream, struct raw *raw, size_t size)
{
    size_t limit = size < TLS_RECORD_SIZE_LIMIT ? TLS_RECORD_SIZE_LIMIT : size;
    if (limit > STREAM_READ_SIZE)
        limit = STREAM_READ_SIZE;
    if (stream->record_bytes > 0 && limit >= (size_t)2 * TLS_RECORD_SIZE_LIMIT)
        limit -= limit % stream->record_bytes;
    if (raw->start != stream->loop->raw)
        memmove(stream->loop->raw, raw->start, raw->length);
    raw->start = stream->loop->raw;

    ssize_t got = stream_receive(stream, (char *)raw->start + raw->length, limit - raw->length);
    if (got > 0)
        raw->length += (size_t)got;
    if (got == 0)
        return stream_end_input(stream);
    return got > 0 ? STREAM_OK : got == -1 ? STREAM_AGAIN : STREAM_BROKEN;
}

/* A record whose content may be more than there is room for: the rest waits in the stream. */
static enum tls_record_status open_beside(struct stream *stream, const struct raw *raw,
                                          char *buffer, size_t room, size_t *consumed,
                                          size_t *length, uint8_t *alert)
{
    uint8_t *opened = stream->loop->opened;
    enum tls_record_status status =
        tls_record_open(stream->records, stream->loop->engine, raw->start, raw->length, opened,
                        consumed, length, alert);
    if (status != TLS_RECORD_DATA)
        return status;
    size_t now = *length < room ? *length : room, whole = *length;
    memcpy(buffer, opened, now);
    if (!buffer_append(&stream->opened, opened + now, whole - now))
        stream_fail(stream, "out of memory");
    explicit_bzero(opened, whole);
    *length = now;
    return status;
}

bool stream_records_carry_nothing(struct stream *stream, enum tls_record_status status,
                                  size_t length)
{
    bool empty = status == TLS_RECORD_KEY_UPDATE || (status == TLS_RECORD_DATA && length == 0);
    if (status == TLS_RECORD_DATA && length > 0)
        stream->empty_records = 0;
    return empty && ++stream->empty_records > EMPTY_RECORDS_LIMIT;
}

/* Opens the next record; STREAM_AGAIN: there is none that is whole. */
static enum stream_status open_record(struct stream *stream, struct raw *raw, char *buffer,
                                      size_t room, size_t *length)
{
    size_t consumed, content;
    uint8_t alert = 0;
    enum tls_record_status status =
        room < raw->length && room < TLS_RECORD_SIZE_LIMIT
            ? open_beside(stream, raw, buffer, room, &consumed, &content, &alert)
            : tls_record_open(stream->records, stream->loop->engine, raw->start, raw->length,
                              (uint8_t *)buffer, &consumed, &content, &alert);
    raw->start += consumed;
    raw->length -= consumed;
    stream->record_bytes = consumed > 0 ? (uint16_t)consumed : stream->record_bytes;
    *length = 0;
    if (stream_records_carry_nothing(stream, status, content))
        return stream_records_fail(stream, TLS_ALERT_UNEXPECTED_MESSAGE);
    switch (status) {
    case TLS_RECORD_DATA:
        *length = content;
        return STREAM_OK;
    case TLS_RECORD_KEY_UPDATE:
        if (content == 1)
            stream_records_change_key(stream);
        return STREAM_OK;
    case TLS_RECORD_CLOSE:
        raw->length = 0;
        return stream_end_input(stream);
    case TLS_RECORD_PARTIAL:
        return STREAM_AGAIN;
    case TLS_RECORD_BROKEN:
        break;
    }
    return stream_records_fail(stream, alert);
}

static size_t take_opened(struct stream *stream, char *buffer, size_t size)
{
    size_t count = stream->opened.length < size ? stream->opened.length : size;
    if (count == 0)
        return 0;
    memcpy(buffer, buffer_bytes(&stream->opened), count);
    buffer_take_secret(&stream->opened, count);
    return count;
}

/* Whole records as long as there is room; more from the socket only while there is nothing yet.
 */
static enum stream_status read_records(struct stream *stream, struct raw *raw, char *buffer,
                                       size_t size, size_t *got)
{
    enum stream_status status = STREAM_OK;
    while (status == STREAM_OK && *got < size && stream->opened.length == 0) {
        size_t length = 0;
        status = open_record(stream, raw, buffer + *got, size - *got, &length);
        *got += length;
        if (status == STREAM_AGAIN && *got == 0)
            status = receive(stream, raw, size);
    }
    return status;
}

enum stream_status stream_records_read(struct stream *stream, char *buffer, size_t size,
                                       size_t *got)
{
    *got = take_opened(stream, buffer, size);
    if (*got > 0 || stream->end_of_input) {
        stream_input_left(stream, *got > 0);
        return *got > 0 ? STREAM_OK : STREAM_EOF;
    }
    if (stream->input.length == 0 && (stream->kernel || stream_kernel_begin(stream)))
        return stream_kernel_read(stream, buffer, size, got);
    struct raw raw = load_input(stream);
    enum stream_status status = read_records(stream, &raw, buffer, size, got);
    keep_input(stream, &raw);
    stream_input_left(stream, *got > 0 && status != STREAM_AGAIN);
    return *got > 0 ? STREAM_OK : status;
}
