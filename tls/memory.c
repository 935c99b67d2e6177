/*
 * Lists of small free pieces between OpenSSL and malloc(), by size, last in, first out. Main
 * sets them up. They hold a handshake's worth of each size and no more: the rest goes back, so
 * that a crowd leaves nothing behind. OpenSSL itself overwrites what was secret. One thread.
 * Under a sanitizer every piece is malloc()'s own, so that misuse is seen.
 */
#include "tls/memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
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

/* The smallest class that serves so many bytes. */
static size_t class_for(size_t size)
{
    return size <= 24 ? 1 : (size + 7) / 16;
}

static void *serve_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    size_t class = class_for(size);
    if (class >= CLASSES || !kept[class].first)
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

static void serve_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    if (!memory)
        return;
    size_t class = (malloc_usable_size(memory) - 8) / 16;
    if (class >= CLASSES || kept[class].count >= KEPT_LIMIT) {
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
