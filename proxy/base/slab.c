/*
 * Size classes of 32 bytes, each with a list of free objects, filled a chunk at a time. Chunks
 * are never given back: their number is that of the most sessions there ever were. Under a
 * sanitizer every object is malloc()'s own, so that misuse is seen.
 */
#include "proxy/base/slab.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEP         32
#define CLASSES      (SLAB_LIMIT / STEP)
#define CHUNK_BYTES  ((size_t)64 * 1024)
#define HEADER_BYTES 16 /* before what libevent gets: its size */

struct free_object {
    struct free_object *next;
};

static struct free_object *free_objects[CLASSES];

static size_t class_of(size_t size)
{
    return size == 0 ? 0 : (size - 1) / STEP;
}

/* Cuts a chunk from the system into objects of one class. */
static void fill(size_t class)
{
    size_t size = (class + 1) * STEP;
    char *chunk =
        mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return;
    for (size_t at = CHUNK_BYTES / size * size; at > 0; at -= size) {
        struct free_object *object = (void *)(chunk + at - size);
        object->next = free_objects[class];
        free_objects[class] = object;
    }
}

void *slab_alloc(size_t size)
{
    if (MEMORY_IS_WATCHED || size > SLAB_LIMIT)
        return calloc(1, size);
    size_t class = class_of(size);
    if (!free_objects[class])
        fill(class);
    struct free_object *object = free_objects[class];
    if (!object)
        return NULL;
    free_objects[class] = object->next;
    return memset(object, 0, size);
}

void slab_free(void *memory, size_t size)
{
    if (MEMORY_IS_WATCHED || size > SLAB_LIMIT) {
        free(memory);
        return;
    }
    if (!memory)
        return;
    struct free_object *object = memory;
    object->next = free_objects[class_of(size)];
    free_objects[class_of(size)] = object;
}

char *slab_text(const char *text, size_t length)
{
    char *copy = slab_alloc(length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

void slab_free_text(char *text)
{
    if (text)
        slab_free(text, strlen(text) + 1);
}

/* libevent does not say how large what it gives back was, so that stands before it. */
static void *serve_malloc(size_t size)
{
    size_t *header = slab_alloc(size + HEADER_BYTES);
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

void slab_serve_libevent(void)
{
    event_set_mem_functions(serve_malloc, serve_realloc, serve_free);
}
