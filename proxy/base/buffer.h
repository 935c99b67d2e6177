/*
 * A queue of bytes: append at the end, take from the front. Holds no memory
 * while it is empty; blocks come from a bounded free list, so that a busy
 * process allocates nothing. One thread.
 */
#ifndef POSTERN_BASE_BUFFER_H
#define POSTERN_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

/* The first block; a longer content moves to blocks of twice the size. Content that moves is
 * overwritten where it was. */
#define BUFFER_BLOCK_SIZE 4096

struct buffer {
    char *data; /* NULL while empty */
    size_t start, length, capacity;
};

#define BUFFER_EMPTY ((struct buffer){0})

/* The bytes held; valid until the next call that changes the buffer. */
static inline char *buffer_bytes(const struct buffer *buffer)
{
    return buffer->data ? buffer->data + buffer->start : NULL;
}

/* Makes room for `more` bytes behind the content and returns where they go; NULL: no memory. */
MUST_USE char *buffer_reserve(struct buffer *buffer, size_t more);

/* Says that `count` bytes were written where buffer_reserve() pointed. */
void buffer_commit(struct buffer *buffer, size_t count);

MUST_USE bool buffer_append(struct buffer *buffer, const void *bytes, size_t count);

/* Forgets the first `count` bytes; gives the memory back when nothing is left. */
void buffer_take(struct buffer *buffer, size_t count);

/* The same, and what was there is overwritten: for passwords. */
void buffer_take_secret(struct buffer *buffer, size_t count);

/* Empties it and gives the memory back, overwritten. */
void buffer_wipe(struct buffer *buffer);

/* Empties it and gives the memory back. */
void buffer_release(struct buffer *buffer);

#endif
