/*
 * The BIO between OpenSSL and a stream, made by stream_tls.c. Its read side takes what the
 * stream has received, and knows when the socket is empty without asking twice; its write side
 * gathers records in the stream's output, so that a whole flight is one send(). Never blocks,
 * never calls the stream's owner.
 */
#include <openssl/bio.h>
#include <string.h>

#include "tls/record_ends.h"
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

/* Keeps the beginning of a record that has not come to its end, and returns how many bytes
 * stand before it. OpenSSL is given all of them, and from then on only OpenSSL knows where the
 * next record begins, if a header is none that TLS 1.3 allows or the record has no room. */
static size_t keep_beginning(struct stream *stream, const char *bytes, size_t length,
                             size_t room)
{
    size_t end = length;
    if (!stream->unaligned) {
        bool allowed = tls_record_ends((const uint8_t *)bytes, length, &end);
        stream->unaligned = !allowed || (end == 0 && length == room);
    }
    if (stream->unaligned)
        return length;
    if (!buffer_append(&stream->input, bytes + end, length - end))
        stream_fail(stream, "out of memory");
    return end;
}

/*
 * After the handshake OpenSSL reads ahead, and asks where a record begins. It is given whole
 * records only: half of one would keep its whole buffer, which is large where messages come.
 */
static ssize_t read_records(struct stream *stream, char *buffer, size_t size)
{
    size_t room = size < STREAM_BULK_BYTES ? size : STREAM_BULK_BYTES;
    size_t held = take_input(stream, buffer, room);
    ssize_t got = 0;
    if (held < room && !stream->end_of_input)
        got = stream_receive(stream, buffer + held, room - held);
    size_t whole = keep_beginning(stream, buffer, held + (got > 0 ? (size_t)got : 0), room);
    if (whole > 0)
        return (ssize_t)whole;
    return got > 0 ? -1 : got;
}

static int bio_read(BIO *bio, char *buffer, int size)
{
    struct stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0)
        return 0;
    ssize_t got = stream->handshaking ? read_piece(stream, buffer, (size_t)size)
                                      : read_records(stream, buffer, (size_t)size);
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
