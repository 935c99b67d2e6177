/*
 * The byte queue of streams, sessions and relays. Memory comes in blocks of BUFFER_BLOCK_SIZE
 * and its doublings; a few given-back blocks of each size are kept, so that a busy process
 * allocates nothing in its steady state. Never leaves a second copy of its content behind: when
 * bytes move, the place where they were is overwritten, as they may be a password.
 */
#include "proxy/base/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Nobody means to hold more: a length went wrong. */
#define BUFFER_LIMIT ((size_t)1 << 30)
/* 4 KiB … 256 KiB; of each size at most KEPT_BYTES wait for their next use. */
#define KEPT_SIZES 7
#define KEPT_BYTES (64 * BUFFER_BLOCK_SIZE)

struct kept_block {
    struct kept_block *next;
};

static struct {
    struct kept_block *first;
    size_t bytes;
} kept[KEPT_SIZES];

/* The index into kept[]; KEPT_SIZES or more: such blocks are not kept. */
static unsigned size_index(size_t capacity)
{
    unsigned index = 0;
    while (index < KEPT_SIZES && ((size_t)BUFFER_BLOCK_SIZE << index) < capacity)
        index++;
    return index;
}

static char *block_new(size_t capacity)
{
    unsigned index = size_index(capacity);
    if (index >= KEPT_SIZES || !kept[index].first)
        return malloc(capacity);
    struct kept_block *block = kept[index].first;
    kept[index].first = block->next;
    kept[index].bytes -= capacity;
    return (char *)block;
}

static void block_free(char *bytes, size_t capacity)
{
    unsigned index = size_index(capacity);
    if (!bytes || index >= KEPT_SIZES || kept[index].bytes + capacity > KEPT_BYTES) {
        free(bytes);
        return;
    }
    struct kept_block *block = (struct kept_block *)(void *)bytes;
    block->next = kept[index].first;
    kept[index].first = block;
    kept[index].bytes += capacity;
}

/* Moves the content to the start of its block. */
static void compact(struct buffer *buffer)
{
    size_t stale =
        buffer->start > buffer->length ? buffer->start : buffer->length; /* first such byte */
    size_t end = buffer->start + buffer->length;
    memmove(buffer->data, buffer->data + buffer->start, buffer->length);
    explicit_bzero(buffer->data + stale, end - stale);
    buffer->start = 0;
}

/* Moves the content to a block that holds `needed` bytes. */
static bool grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_BLOCK_SIZE;
    while (capacity < needed)
        capacity *= 2;
    char *data = block_new(capacity);
    if (!data)
        return false;
    if (buffer->data) {
        memcpy(data, buffer->data + buffer->start, buffer->length);
        explicit_bzero(buffer->data + buffer->start, buffer->length);
    }
    block_free(buffer->data, buffer->capacity);
    buffer->data = data;
    buffer->start = 0;
    buffer->capacity = capacity;
    return true;
}

char *buffer_reserve(struct buffer *buffer, size_t more)
{
    if (more > BUFFER_LIMIT - buffer->length)
        return NULL;
    size_t needed = buffer->length + more;

    if (!buffer->data || needed > buffer->capacity - buffer->start) {
        /* Moving is worth it only if it wins about as much room as it costs. */
        bool move =
            buffer->data && needed <= buffer->capacity && buffer->start >= buffer->capacity / 4;
        if (move)
            compact(buffer);
        else if (!grow(buffer, needed <= buffer->capacity ? buffer->capacity + 1 : needed))
            return NULL;
    }
    return buffer->data + buffer->start + buffer->length;
}

void buffer_commit(struct buffer *buffer, size_t count)
{
    assert(count <= buffer->capacity - buffer->start - buffer->length);
    buffer->length += count;
    if (buffer->length == 0)
        buffer_release(buffer);
}

bool buffer_append(struct buffer *buffer, const void *bytes, size_t count)
{
    if (count == 0)
        return true;
    char *room = buffer_reserve(buffer, count);
    if (!room)
        return false;
    memcpy(room, bytes, count);
    buffer_commit(buffer, count);
    return true;
}

void buffer_take(struct buffer *buffer, size_t count)
{
    assert(count <= buffer->length);
    buffer->start += count;
    buffer->length -= count;
    if (buffer->length == 0)
        buffer_release(buffer);
}

void buffer_take_secret(struct buffer *buffer, size_t count)
{
    assert(count <= buffer->length);
    if (buffer->data)
        explicit_bzero(buffer->data + buffer->start, count);
    buffer_take(buffer, count);
}

void buffer_wipe(struct buffer *buffer)
{
    if (buffer->data)
        explicit_bzero(buffer->data, buffer->capacity);
    buffer_release(buffer);
}

void buffer_release(struct buffer *buffer)
{
    block_free(buffer->data, buffer->capacity);
    *buffer = BUFFER_EMPTY;
}
