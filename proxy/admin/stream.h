/*
 * A reply that has no end of its own: lines, sent as they come. A reader that does not keep up
 * is never waited for; one that leaves is noticed at once.
 */
#ifndef POSTERN_ADMIN_STREAM_H
#define POSTERN_ADMIN_STREAM_H

#include <stddef.h>

#include "proxy/admin/server.h"
#include "proxy/base/compiler.h"

/* Bytes that may wait for a reader. */
#define ADMIN_STREAM_LIMIT_BYTES ((size_t)256 * 1024)

struct admin_stream;

struct admin_stream_calls {
    void (*drained)(void *context); /* all that was sent has left: there is room again */
    void (*gone)(void *context);    /* the reader has left; the stream is freed */
};

/* Replies 200 and begins; the request is freed in any case. NULL: no memory, and it has been
 * replied to. */
MUST_USE struct admin_stream *admin_stream_begin(struct admin_request *request,
                                                 const char *content_type,
                                                 const struct admin_stream_calls *calls,
                                                 void *context);

/* Sends bytes; false: there is no room for them. Calls nothing back. */
MUST_USE bool admin_stream_send(struct admin_stream *stream, const char *bytes, size_t length);

/* Ends the reply and frees the stream; what has been sent still leaves, if the reader takes it.
 * Calls nothing back. */
void admin_stream_end(struct admin_stream *stream);
/* The same where no loop runs any more: what the reader does not take at once is lost. */
void admin_stream_end_now(struct admin_stream *stream);

#endif
