/*
 * The BIO between OpenSSL and a stream, made by stream_tls.c. Its read side takes what the
 * stream has received, and knows when the socket is empty without asking twice; its write side
 * gathers records in the stream's output, so that a whole flight is one send(). Never blocks,
 * never calls the stream's owner.
 */
#include <openssl/bio.h>
#include <string.h>

#include "tls/record_end.h"
#include "tls/stream_internal.h"

/* What OpenSSL may queue: some times what an owner writes before it stops. */
#define OUTPUT_LIMIT_BYTES ((size_t)4 * 1024 * 1024)

static int bio_write(BIO *bio, const char *bytes, int length)
{
    struct stream *stream = BIO_get_data(bio);
    if (length <= 0)
        return 0;
    if (stream->output.length + (size_t)length > OUTPUT_LIMIT_BYTES) {
        stream_fail(stream, "the other side reads nothing, and has too much said to it");
        return -1;
    }
    if (!buffer_append(&stream->output, bytes, (size_t)length)) {
        stream_fail(stream, "out of memory");
        return -1;
    }
    return length;
}

static size_t take_input(struct stream *stream, char *buffer, size_t size)
{
    size_t held = stream->input.length < size ? stream->input.length : size;
    if (held == 0)
        return 0;
    memcpy(buffer, buffer_bytes(&stream->input), held);
    buffer_take(&stream->input, held);
    return held;
}

static ssize_t fill_input(struct stream *stream)
{
    char *room = buffer_reserve(&stream->input, BUFFER_BLOCK_SIZE);
    if (!room) {
        stream_fail(stream, "out of memory");
        return -2;
    }
    ssize_t got = stream_receive(stream, room, BUFFER_BLOCK_SIZE);
    buffer_commit(&stream->input, got > 0 ? (size_t)got : 0);
    if (stream->input.length == 0)
        buffer_release(&stream->input);
    return got;
}

/* In a handshake OpenSSL is given exactly what it asks for. */
static ssize_t read_piece(struct stream *stream, char *buffer, size_t size)
{
    ssize_t got = stream->input.length == 0 ? fill_input(stream) : 1;
    return got > 0 ? (ssize_t)take_input(stream, buffer, size) : got;
}

/* The bytes of `received` that OpenSSL may have now: its first record if all of it is there, or
 * everything if a header is none that TLS 1.3 allows. Then only OpenSSL knows where the next
 * record begins. */
static size_t next_record(struct stream *stream)
{
    const struct received *received = &stream->loop->received;
    size_t length = received->end - received->start, end = length;
    if (!stream->unaligned)
        stream->unaligned =
            !tls_record_end((const uint8_t *)received->bytes + received->start, length, &end);
    return stream->unaligned ? length : end;
}

bool stream_bio_has_record(struct stream *stream)
{
    return stream->loop->received.of == stream && next_record(stream) > 0;
}

void stream_bio_begin(struct stream *stream, size_t room)
{
    struct received *received = &stream->loop->received;
    received->of = stream;
    received->room = room;
    received->start = 0;
    received->end = take_input(stream, received->bytes, sizeof received->bytes);
}

void stream_bio_end(struct stream *stream)
{
    struct received *received = &stream->loop->received;
    size_t left = received->end - received->start;
    if (left > 0 && !buffer_append(&stream->input, received->bytes + received->start, left))
        stream_fail(stream, "out of memory");
    received->of = NULL;
}

/* No more than the reader has room for, so that all whole records are read at once, but always
 * a record. */
static ssize_t receive_more(struct stream *stream)
{
    struct received *received = &stream->loop->received;
    size_t length = received->end - received->start;
    size_t most = received->room > STREAM_RECORD_SIZE ? received->room : STREAM_RECORD_SIZE;
    if (most > sizeof received->bytes)
        most = sizeof received->bytes;
    if (length >= most)
        return -1;
    memmove(received->bytes, received->bytes + received->start, length);
    ssize_t got = stream_receive(stream, received->bytes + length, most - length);
    received->start = 0;
    received->end = length + (got > 0 ? (size_t)got : 0);
    return got;
}

/*
 * After the handshake OpenSSL reads ahead, and asks where a record begins. It is given one
 * whole record each time: it would move all that it has read ahead for each record that it
 * opens, and half of one would keep its buffer.
 */
static ssize_t read_record(struct stream *stream, char *buffer, size_t size)
{
    struct received *received = &stream->loop->received;
    ssize_t got = stream->end_of_input ? 0 : -1;
    if (received->of != stream)
        return -1;
    size_t record = next_record(stream);
    if (record == 0 && !stream->end_of_input) {
        got = receive_more(stream);
        record = next_record(stream);
    }
    if (record == 0)
        return got > 0 ? -1 : got;
    size_t given = record < size ? record : size;
    memcpy(buffer, received->bytes + received->start, given);
    received->start += given;
    received->room -= given < received->room ? given : received->room;
    return (ssize_t)given;
}

static int bio_read(BIO *bio, char *buffer, int size)
{
    struct stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0)
        return 0;
    ssize_t got = stream->handshaking ? read_piece(stream, buffer, (size_t)size)
                                      : read_record(stream, buffer, (size_t)size);
    if (got == -1)
        BIO_set_retry_read(bio);
    return got < 0 ? -1 : (int)got;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    const struct stream *stream = BIO_get_data(bio);
    (void)number, (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return stream->end_of_input;
    default:
        return 0;
    }
}

BIO_METHOD *stream_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (!method)
        return NULL;
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_control);
    return method;
}

BIO *stream_bio_new(struct stream *stream)
{
    BIO *bio = BIO_new(stream->loop->bio_method);
    if (bio) {
        BIO_set_data(bio, stream);
        BIO_set_init(bio, 1);
    }
    return bio;
}
