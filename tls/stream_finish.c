/*
 * The end of a stream. Closing a socket with unread input resets the connection, and a reset
 * can overtake the last reply; so a stream that is given up sends its rest, ends its sending,
 * and forgets what comes for a moment before it closes. Bounded in time, bytes and number.
 */
#include <sys/socket.h>

#include "proxy/base/clock.h"
#include "tls/stream_internal.h"

#define FINISH_MS            2000
#define FINISH_BYTES         (256 * 1024)
#define FINISH_STREAMS_LIMIT 1024

static void arm_timer(struct stream_loop *loop, uint64_t now_ms)
{
    const struct stream *first = TAILQ_FIRST(&loop->finishing);
    if (!first)
        return;
    uint64_t wait_ms =
        first->finish_deadline_ms > now_ms ? first->finish_deadline_ms - now_ms : 1;
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    evtimer_add(&loop->finish_timer, &wait);
}

void stream_finish_overdue(struct stream_loop *loop)
{
    uint64_t now_ms = clock_now_ms();
    struct stream *first;
    while ((first = TAILQ_FIRST(&loop->finishing)) && first->finish_deadline_ms <= now_ms)
        stream_free(first);
    arm_timer(loop, now_ms);
}

bool stream_loop_close_finishing(struct stream_loop *loop)
{
    struct stream *oldest = TAILQ_FIRST(&loop->finishing);
    if (!oldest)
        return false;
    stream_free(oldest);
    return true;
}

static void begin_finishing(struct stream *stream)
{
    struct stream_loop *loop = stream->loop;
    uint64_t now_ms = clock_now_ms();

    if (stream->in_unread_list)
        TAILQ_REMOVE(&loop->unread, stream, link);
    stream->in_unread_list = false;
    stream->finishing = true;
    stream->finish_deadline_ms = now_ms + FINISH_MS;
    TAILQ_INSERT_TAIL(&loop->finishing, stream, link);
    if (loop->finishing_count++ == 0)
        arm_timer(loop, now_ms);
    if (stream_kernel_opens(stream)) /* what is there already is no change */
        event_del(&stream->readable);
    event_add(&stream->readable, NULL);
}

void stream_finish(struct stream *stream, bool at_once)
{
    stream_tls_close_notify(stream);
    stream_flush(stream);

    bool sent = !stream_has_unsent(stream);
    if (stream->failed || (at_once && sent) || (stream->end_of_input && sent) ||
        stream->loop->finishing_count >= FINISH_STREAMS_LIMIT) {
        stream_free(stream);
        return;
    }
    stream_end_output(stream);
    stream_flush(stream);
    begin_finishing(stream);
}

/* How many bytes; nothing, an end or a fault is 0. Where the kernel opens the records they
 * cannot be read but by OpenSSL. */
static size_t forget_input(struct stream *stream)
{
    char forgotten[4096];
    size_t got = 0;
    if (stream_kernel_opens(stream))
        return stream_tls_read(stream, forgotten, sizeof forgotten, &got) == STREAM_OK ? got
                                                                                       : 0;
    ssize_t received = stream_receive(stream, forgotten, sizeof forgotten);
    return received > 0 ? (size_t)received : 0;
}

/* Input or room for output on a finishing stream. Frees it when there is nothing to wait for.
 */
void stream_finish_event(struct stream *stream)
{
    size_t got;
    stream_flush(stream);
    do {
        got = forget_input(stream);
        stream->finish_discarded_bytes += (uint32_t)got;
    } while (stream_kernel_opens(stream) && got > 0 &&
             stream->finish_discarded_bytes <= FINISH_BYTES);
    if (stream->end_of_input)
        event_del(&stream->readable);

    bool sent = !stream_has_unsent(stream);
    if (stream->failed || (stream->end_of_input && sent) ||
        stream->finish_discarded_bytes > FINISH_BYTES)
        stream_free(stream);
}
