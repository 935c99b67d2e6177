/*
 * Size classes of 32 bytes. Each takes its objects from chunks of 64 KiB that are aligned to
 * their size, so that an object's chunk is known by its address. A chunk without an object in
 * use goes back to the system, but for one of each class, so that a few sessions that come and
 * go ask the system for nothing. Under a sanitizer every object is malloc()'s own, so that
 * misuse is seen.
 */
#include "proxy/base/slab.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

#define STEP        32
#define CLASSES     (SLAB_LIMIT / STEP)
#define CHUNK_BYTES ((size_t)64 * 1024)

struct free_object {
    struct free_object *next;
};

/* At the beginning of each chunk, which is in its class's list while it has a free object. */
struct chunk {
    LIST_ENTRY(chunk) link;
    struct free_object *free;
    unsigned used;
    unsigned fresh_from; /* objects from this one on have never been used */
};

LIST_HEAD(chunk_list, chunk);

static struct class
{
    struct chunk_list with_room;
    unsigned empty; /* chunks in it without an object in use */
} classes[CLASSES];

static size_t class_of(size_t size)
{
    return size == 0 ? 0 : (size - 1) / STEP;
}

static size_t size_of(size_t class)
{
    return (class + 1) * STEP;
}

/* The header takes the place of the first objects. */
static unsigned first_object(size_t class)
{
    return (unsigned)((sizeof(struct chunk) + size_of(class) - 1) / size_of(class));
}

static unsigned end_of_objects(size_t class)
{
    return (unsigned)(CHUNK_BYTES / size_of(class));
}

static void *map(size_t length)
{
    void *mapped =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static bool is_aligned(const void *address)
{
    return (uintptr_t)address % CHUNK_BYTES == 0;
}

/* What the system gives is mostly aligned once one was; otherwise twice as much is cut. */
static struct chunk *map_chunk(void)
{
    char *mapped = map(CHUNK_BYTES);
    if (!mapped || is_aligned(mapped))
        return (void *)mapped;
    munmap(mapped, CHUNK_BYTES);
    mapped = map(2 * CHUNK_BYTES);
    if (!mapped)
        return NULL;
    size_t before = CHUNK_BYTES - (uintptr_t)mapped % CHUNK_BYTES;
    if (before < CHUNK_BYTES) {
        munmap(mapped, before);
        munmap(mapped + before + CHUNK_BYTES, CHUNK_BYTES - before);
        return (void *)(mapped + before);
    }
    munmap(mapped + CHUNK_BYTES, CHUNK_BYTES);
    return (void *)mapped;
}

static struct chunk *add_chunk(size_t class)
{
    struct chunk *chunk = map_chunk();
    if (!chunk)
        return NULL;
    chunk->fresh_from = first_object(class);
    LIST_INSERT_HEAD(&classes[class].with_room, chunk, link);
    classes[class].empty++;
    return chunk;
}

static bool is_full(const struct chunk *chunk, size_t class)
{
    return !chunk->free && chunk->fresh_from == end_of_objects(class);
}

static void *take_object(struct chunk *chunk, size_t class)
{
    struct free_object *object = chunk->free;
    if (object)
        chunk->free = object->next;
    else
        object = (void *)((char *)chunk + chunk->fresh_from++ * size_of(class));
    if (chunk->used++ == 0)
        classes[class].empty--;
    if (is_full(chunk, class))
        LIST_REMOVE(chunk, link);
    return object;
}

void *slab_alloc(size_t size)
{
    if (MEMORY_IS_WATCHED || size > SLAB_LIMIT)
        return calloc(1, size);
    size_t class = class_of(size);
    struct chunk *chunk = LIST_FIRST(&classes[class].with_room);
    if (!chunk)
        chunk = add_chunk(class);
    return chunk ? memset(take_object(chunk, class), 0, size) : NULL;
}

/* Another chunk of the class is empty already. */
static void give_back(struct chunk *chunk, size_t class)
{
    LIST_REMOVE(chunk, link);
    classes[class].empty--;
    munmap(chunk, CHUNK_BYTES);
}

void slab_free(void *memory, size_t size)
{
    if (MEMORY_IS_WATCHED || size > SLAB_LIMIT) {
        free(memory);
        return;
    }
    if (!memory)
        return;
    size_t class = class_of(size);
    struct chunk *chunk = (void *)((uintptr_t)memory & ~(uintptr_t)(CHUNK_BYTES - 1));
    struct free_object *object = memory;
    if (is_full(chunk, class))
        LIST_INSERT_HEAD(&classes[class].with_room, chunk, link);
    object->next = chunk->free;
    chunk->free = object;
    if (--chunk->used == 0 && ++classes[class].empty > 1)
        give_back(chunk, class);
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
