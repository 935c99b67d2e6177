/*
 * Parts of libevent, its HTTP server above all, do not survive that a small piece of memory is
 * refused. So some is set aside for those alone: it serves what the system refuses, and is
 * whole again when all of that has been given back.
 */
#include "proxy/base/slab.h"

#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Before each piece: its size. */
#define HEADER_BYTES 16
/* What is larger is a buffer's, for which libevent can do without. */
#define SPARE_PIECE_BYTES 8192u
#define SPARE_BYTES       ((size_t)512 * 1024)

static struct {
    char *bytes; /* NULL: could not be had */
    size_t taken;
    unsigned pieces; /* of it that are in use */
} spare;

static bool is_spare(const void *piece)
{
    uintptr_t at = (uintptr_t)piece, begin = (uintptr_t)spare.bytes;
    return spare.bytes && at >= begin && at < begin + SPARE_BYTES;
}

static void *take_spare(size_t size)
{
    size_t rounded = (size + HEADER_BYTES - 1) / HEADER_BYTES * HEADER_BYTES;
    if (!spare.bytes || size > SPARE_PIECE_BYTES || rounded > SPARE_BYTES - spare.taken)
        return NULL;
    char *piece = spare.bytes + spare.taken;
    spare.taken += rounded;
    spare.pieces++;
    return memset(piece, 0, size);
}

static void give_spare(void)
{
    if (--spare.pieces == 0)
        spare.taken = 0;
}

/* libevent does not say how large what it gives back was, so that stands before it. */
static void *serve_malloc(size_t size)
{
    size_t *header = slab_alloc(size + HEADER_BYTES);
    if (!header)
        header = take_spare(size + HEADER_BYTES);
    if (!header)
        return NULL;
    *header = size;
    return (char *)header + HEADER_BYTES;
}

static void serve_free(void *memory)
{
    if (!memory)
        return;
    size_t *header = (void *)((char *)memory - HEADER_BYTES);
    if (is_spare(header))
        give_spare();
    else
        slab_free(header, *header + HEADER_BYTES);
}

static void *serve_realloc(void *memory, size_t size)
{
    void *larger = serve_malloc(size);
    if (!larger || !memory)
        return larger;
    size_t held = *(size_t *)(void *)((char *)memory - HEADER_BYTES);
    memcpy(larger, memory, held < size ? held : size);
    serve_free(memory);
    return larger;
}

bool slab_is_short(void)
{
    return spare.pieces > 0;
}

void slab_serve_libevent(void)
{
    spare.bytes = malloc(SPARE_BYTES);
    event_set_mem_functions(serve_malloc, serve_realloc, serve_free);
}
