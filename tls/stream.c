/*
 * The socket half of a stream: events, reading, gathering and sending. Sessions and backends
 * own streams; nothing here knows SMTP.
 */
#include "tls/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/slab.h"
#include "tls/stream_internal.h"

/* Plain writes up to this size are gathered; larger ones go straight to the socket. */
#define GATHER_LIMIT_BYTES 2048
#define PIECES_LIMIT       64

static void tell(struct stream *stream, enum stream_event event)
{
    stream->callback(stream->context, stream, event);
}

void stream_offer_again(struct stream *stream)
{
    if (stream->in_unread_list || stream->finishing)
        return;
    static const struct timeval now = {0};
    stream->in_unread_list = true;
    TAILQ_INSERT_TAIL(&stream->loop->unread, stream, link);
    evtimer_add(&stream->loop->unread_timer, &now);
}

void stream_fail(struct stream *stream, const char *error)
{
    if (stream->failed)
        return;
    stream->failed = true;
    stream->error = error;
    stream_offer_again(stream);
}

/* Notes what a system call has received, of so much room, and returns what stream_receive()
 * does. */
static ssize_t received(struct stream *stream, ssize_t got, size_t size)
{
    if (got > 0) {
        stream->socket_empty = (size_t)got < size;
        return got;
    }
    stream->socket_empty = true;
    if (got == 0) {
        stream->end_of_input = true;
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR)
        return -1;
    stream_fail(stream, strerrordesc_np(errno));
    return -2;
}

/* What is only looked at says nothing of what is behind it. */
static ssize_t receive(struct stream *stream, char *buffer, size_t size, int flags)
{
    if (stream->socket_empty)
        return -1;
    ssize_t got = recv(stream->fd, buffer, size, flags);
    return received(stream, got, flags == 0 ? size : 0);
}

ssize_t stream_receive(struct stream *stream, char *buffer, size_t size)
{
    return receive(stream, buffer, size, 0);
}

static enum stream_status plain_read(struct stream *stream, char *buffer, size_t size,
                                     size_t *got, int flags)
{
    ssize_t result = receive(stream, buffer, size, flags);
    *got = result > 0 ? (size_t)result : 0;
    if (result > 0)
        return STREAM_OK;
    if (result == 0)
        event_del(&stream->readable);
    return result == 0 ? STREAM_EOF : result == -1 ? STREAM_AGAIN : STREAM_BROKEN;
}

enum stream_status stream_peek(struct stream *stream, char *buffer, size_t size, size_t *got)
{
    *got = 0;
    return stream->failed ? STREAM_BROKEN : plain_read(stream, buffer, size, got, MSG_PEEK);
}

enum stream_status stream_read(struct stream *stream, char *buffer, size_t size, size_t *got)
{
    *got = 0;
    if (stream->failed)
        return STREAM_BROKEN;
    if (stream->handshaking)
        return STREAM_AGAIN;
    return stream->tls ? stream_tls_read(stream, buffer, size, got)
                       : plain_read(stream, buffer, size, got, 0);
}

/* What was read ahead is offered again by the loop, as the socket will not speak of it. A
 * stream that has failed stays in the list: its owner has not heard of that yet. */
void stream_input_left(struct stream *stream, bool left)
{
    stream->input_left = left;
    if (left && !stream->paused)
        stream_offer_again(stream);
    else if (!left && stream->in_unread_list && !stream->failed) {
        TAILQ_REMOVE(&stream->loop->unread, stream, link);
        stream->in_unread_list = false;
        if (TAILQ_EMPTY(&stream->loop->unread))
            evtimer_del(&stream->loop->unread_timer);
    }
}

static void tell_failure(struct stream *stream)
{
    if (stream->failure_told)
        return;
    stream->failure_told = true;
    event_del(&stream->readable);
    event_del(&stream->writable);
    tell(stream, STREAM_FAILED);
}

static void continue_handshake(struct stream *stream)
{
    if (stream_tls_handshake(stream)) {
        stream_input_left(stream, stream_tls_has_input(stream));
        tell(stream, STREAM_SECURED);
    } else {
        stream_flush(stream);
    }
}

/* One turn of input. The owner may free the stream in any of these. */
static void offer_input(struct stream *stream)
{
    if (stream->finishing)
        stream_finish_event(stream);
    else if (stream->failed)
        tell_failure(stream);
    else if (stream->handshaking)
        continue_handshake(stream);
    else if (!stream->paused)
        tell(stream, STREAM_READABLE);
    else
        event_del(&stream->readable);
}

static void on_readable(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct stream *stream = argument;
    stream->socket_empty = false;
    offer_input(stream);
}

/* Those that were waiting when the turn began; what they add waits for the next one. */
static void on_unread(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct stream_loop *loop = argument;
    size_t count = 0;
    struct stream *stream;
    TAILQ_FOREACH(stream, &loop->unread, link)
    count++;

    while (count-- > 0 && (stream = TAILQ_FIRST(&loop->unread))) {
        TAILQ_REMOVE(&loop->unread, stream, link);
        stream->in_unread_list = false;
        offer_input(stream);
    }
    if (!TAILQ_EMPTY(&loop->unread))
        evtimer_add(&loop->unread_timer, &(struct timeval){0});
}

static void on_writable(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct stream *stream = argument;
    stream_flush(stream);
    if (stream_has_unsent(stream) && !stream->failed)
        return;
    event_del(&stream->writable);
    if (stream->kernel) /* whatever OpenSSL was kept from */
        stream_offer_again(stream);
    if (stream->finishing)
        stream_finish_event(stream);
    else if (stream->handshaking)
        return;
    else if (!stream->failed)
        tell(stream, STREAM_DRAINED);
}

static void on_finish_timer(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    stream_finish_overdue(argument);
}

struct stream_loop *stream_loop_new(struct event_base *base)
{
    struct stream_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    loop->base = base;
    TAILQ_INIT(&loop->unread);
    TAILQ_INIT(&loop->finishing);
    evtimer_assign(&loop->unread_timer, base, on_unread, loop);
    evtimer_assign(&loop->finish_timer, base, on_finish_timer, loop);
    loop->bio_method = stream_bio_method();
    if (loop->bio_method)
        return loop;
    stream_loop_free(loop);
    return NULL;
}

void stream_loop_free(struct stream_loop *loop)
{
    struct stream *stream;
    while ((stream = TAILQ_FIRST(&loop->finishing)))
        stream_free(stream);
    event_del(&loop->unread_timer);
    event_del(&loop->finish_timer);
    BIO_meth_free(loop->bio_method);
    free(loop);
}

void stream_loop_keep_names(struct stream_loop *loop)
{
    loop->keeps_names = true;
}

void stream_loop_use_kernel(struct stream_loop *loop)
{
    loop->kernel = true;
}

uint64_t stream_loop_handshakes(const struct stream_loop *loop)
{
    return loop->handshakes;
}

unsigned stream_loop_finishing(const struct stream_loop *loop)
{
    return loop->finishing_count;
}

struct stream *stream_new(struct stream_loop *loop, int fd, stream_callback *callback,
                          void *context)
{
    struct stream *stream = slab_alloc(sizeof *stream);
    if (!stream) {
        close(fd);
        return NULL;
    }
    stream->loop = loop;
    stream->fd = fd;
    stream->callback = callback;
    stream->context = context;
    event_assign(&stream->readable, loop->base, fd, EV_READ | EV_PERSIST, on_readable, stream);
    event_assign(&stream->writable, loop->base, fd, EV_WRITE | EV_PERSIST, on_writable, stream);
    event_add(&stream->readable, NULL);
    return stream;
}

void stream_set_callback(struct stream *stream, stream_callback *callback, void *context)
{
    stream->callback = callback;
    stream->context = context;
}

void stream_free(struct stream *stream)
{
    if (!stream)
        return;
    if (stream->in_unread_list)
        TAILQ_REMOVE(&stream->loop->unread, stream, link);
    if (stream->finishing) {
        TAILQ_REMOVE(&stream->loop->finishing, stream, link);
        stream->loop->finishing_count--;
    }
    event_del(&stream->readable);
    event_del(&stream->writable);
    stream_tls_free(stream);
    buffer_release(&stream->output);
    close(stream->fd);
    slab_free(stream, sizeof *stream);
}

/* The event is taken out only if input does come meanwhile: mostly none does, and the loop is
 * spared the change and its undoing. */
void stream_pause(struct stream *stream)
{
    if (stream->paused)
        return;
    stream->paused = true;
    if (stream->output_broken)
        stream_fail(stream, "closed by the other side");
}

void stream_resume(struct stream *stream)
{
    if (!stream->paused)
        return;
    stream->paused = false;
    if (stream->failed)
        return;
    if (!stream->end_of_input)
        event_add(&stream->readable, NULL);
    if (stream->input_left) /* perhaps nothing but the end */
        stream_offer_again(stream);
}

/* Forgets the first `sent` bytes of the queue and then of the pieces; queues what is left of
 * these. */
static void keep_unsent(struct stream *stream, const struct iovec *pieces, int count,
                        size_t sent)
{
    size_t queued = stream->output.length < sent ? stream->output.length : sent;
    buffer_take(&stream->output, queued);
    sent -= queued;
    for (int i = 0; i < count; i++) {
        size_t skip = pieces[i].iov_len < sent ? pieces[i].iov_len : sent;
        sent -= skip;
        if (!buffer_append(&stream->output, (const char *)pieces[i].iov_base + skip,
                           pieces[i].iov_len - skip))
            stream_fail(stream, "out of memory");
    }
}

void stream_silence(struct stream *stream)
{
    stream->output_broken = true;
    buffer_release(&stream->clear);
    buffer_release(&stream->output);
    event_del(&stream->writable);
}

/*
 * The other side takes no more. What it said before may still wait to be read and is worth it
 * (a backend's last reply): reading goes on to its own end or error.
 */
static void break_output(struct stream *stream, const char *error)
{
    stream_silence(stream);
    if (stream->paused || stream->end_of_input)
        stream_fail(stream, error);
}

/* The queue and then the pieces, in one system call; what the socket does not take is queued.
 */
static void send_now(struct stream *stream, const struct iovec *pieces, int count)
{
    struct iovec vector[PIECES_LIMIT + 1];
    struct msghdr message = {.msg_iov = vector};
    size_t total = stream->output.length;

    if (total > 0)
        vector[message.msg_iovlen++] = (struct iovec){buffer_bytes(&stream->output), total};
    for (int i = 0; i < count; i++) {
        vector[message.msg_iovlen++] = pieces[i];
        total += pieces[i].iov_len;
    }
    ssize_t sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        break_output(stream, strerrordesc_np(errno));
        return;
    }
    keep_unsent(stream, pieces, count, sent > 0 ? (size_t)sent : 0);
    if (stream->output.length > 0)
        event_add(&stream->writable, NULL);
}

static bool waits_for_socket(const struct stream *stream)
{
    return stream->output.length > 0 && event_pending(&stream->writable, EV_WRITE, NULL);
}

void stream_write(struct stream *stream, const void *bytes, size_t length)
{
    struct buffer *queue = stream->tls ? &stream->clear : &stream->output;
    if (stream->failed || stream->output_broken || length == 0)
        return;
    if (!buffer_append(queue, bytes, length))
        stream_fail(stream, "out of memory");
}

void stream_writev(struct stream *stream, const struct iovec *pieces, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += pieces[i].iov_len;

    bool direct = !stream->tls && total > GATHER_LIMIT_BYTES && count <= PIECES_LIMIT &&
                  !stream->failed && !stream->output_broken && !waits_for_socket(stream);
    if (direct) {
        send_now(stream, pieces, count);
        return;
    }
    for (int i = 0; i < count; i++)
        stream_write(stream, pieces[i].iov_base, pieces[i].iov_len);
}

void stream_flush(struct stream *stream)
{
    if (stream->clear.length > 0 || stream->sealing.length > 0 || stream->closing)
        stream_tls_write(stream);
    if (stream->output.length > 0)
        send_now(stream, NULL, 0);
    if (stream->end_output && !stream_has_unsent(stream) && !stream->output_ended) {
        stream->output_ended = true;
        shutdown(stream->fd, SHUT_WR);
    }
}

size_t stream_queued(const struct stream *stream)
{
    return stream->clear.length + stream->sealing.length + stream->output.length;
}

bool stream_has_unsent(const struct stream *stream)
{
    return stream->output.length > 0 || stream->sealing.length > 0 || stream->closing;
}

void stream_end_output(struct stream *stream)
{
    stream->end_output = true;
}

const char *stream_error(const struct stream *stream)
{
    return stream->error ? stream->error : "no error";
}

int stream_descriptor(const struct stream *stream)
{
    return stream->fd;
}
