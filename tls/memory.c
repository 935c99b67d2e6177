/*
 * Lists of free pieces between OpenSSL and malloc(): small ones by size, last in, first out,
 * and a few buffers for records. Main sets them up. They hold a handshake's worth of each small
 * size and no more: the rest goes back, so that a crowd leaves nothing behind. OpenSSL itself
 * overwrites what was secret. One thread. Under a sanitizer every piece is malloc()'s own, so
 * that misuse is seen.
 */
#include "tls/memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>

#include "proxy/base/compiler.h"

/* Class n serves up to 16 n + 8 bytes, as malloc()'s own sizes go. */
#define CLASSES    17
#define KEPT_LIMIT 128

struct piece {
    struct piece *next;
};

static struct {
    struct piece *first;
    unsigned count;
} kept[CLASSES];

/* Buffers: for one record, and for those that OpenSSL reads at once where it has the socket. */
static struct shelf {
    size_t from, to; /* usable bytes */
    unsigned places;
    void *buffers[4];
} shelves[] = {{.from = 16 * 1024, .to = 20 * 1024, .places = 4},
               {.from = 60 * 1024, .to = 80 * 1024, .places = 2}};

static struct shelf *shelf_for(size_t size)
{
    for (size_t i = 0; i < sizeof shelves / sizeof *shelves; i++)
        if (size >= shelves[i].from && size < shelves[i].to)
            return &shelves[i];
    return NULL;
}

/* NULL: the shelf has none that is large enough. */
static void *take_buffer(struct shelf *shelf, size_t size)
{
    for (unsigned i = 0; i < shelf->places; i++) {
        void *buffer = shelf->buffers[i];
        if (!buffer || malloc_usable_size(buffer) < size)
            continue;
        shelf->buffers[i] = NULL;
        return buffer;
    }
    return NULL;
}

/* False: the shelf is full. */
static bool keep_buffer(struct shelf *shelf, void *buffer)
{
    for (unsigned i = 0; i < shelf->places; i++) {
        if (shelf->buffers[i])
            continue;
        shelf->buffers[i] = buffer;
        return true;
    }
    return false;
}

/* The smallest class that serves so many bytes. */
static size_t class_for(size_t size)
{
    return size <= 24 ? 1 : (size + 7) / 16;
}

static void *serve_large(size_t size)
{
    struct shelf *shelf = shelf_for(size);
    void *buffer = shelf ? take_buffer(shelf, size) : NULL;
    return buffer ? buffer : malloc(size);
}

static void *serve_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    size_t class = class_for(size);
    if (class >= CLASSES)
        return serve_large(size);
    if (!kept[class].first)
        return malloc(size);
    struct piece *piece = kept[class].first;
    kept[class].first = piece->next;
    kept[class].count--;
    return piece;
}

static void *serve_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return realloc(memory, size);
}

static void take_back_large(void *memory, size_t size)
{
    struct shelf *shelf = shelf_for(size);
    if (!shelf || !keep_buffer(shelf, memory))
        free(memory);
}

static void serve_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    if (!memory)
        return;
    size_t size = malloc_usable_size(memory), class = (size - 8) / 16;
    if (class >= CLASSES) {
        take_back_large(memory, size);
        return;
    }
    if (kept[class].count >= KEPT_LIMIT) {
        free(memory);
        return;
    }
    struct piece *piece = memory;
    piece->next = kept[class].first;
    kept[class].first = piece;
    kept[class].count++;
}

void tls_memory_serve_openssl(void)
{
    if (!MEMORY_IS_WATCHED)
        CRYPTO_set_mem_functions(serve_malloc, serve_realloc, serve_free);
}
