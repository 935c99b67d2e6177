/*
 * Memory for what lives as long as a session: objects of like size stand close
 * together in pages of their own, apart from what a TLS handshake takes and
 * gives back, so that those pages can go back to the system when it is over.
 * So do a slab's own pages, when all of their objects have been freed.
 * Freed objects are used again first. One thread.
 */
#ifndef POSTERN_BASE_SLAB_H
#define POSTERN_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"

/* Zeroed memory; NULL: there is none. Any size; what is over SLAB_LIMIT comes from malloc(). */
#define SLAB_LIMIT 1024
MUST_USE void *slab_alloc(size_t size);

/* Takes back what slab_alloc() gave for the same `size`. NULL is allowed. */
void slab_free(void *memory, size_t size);

/* A copy of `length` bytes and a NUL; slab_free_text() takes it back. */
MUST_USE char *slab_text(const char *text, size_t length);
void slab_free_text(char *text);

/* slab_libevent.c: lets libevent take its memory from here; before its first call. What the
 * system then refuses comes from a small reserve. */
void slab_serve_libevent(void);
/* Does libevent live on its reserve? It should be asked for nothing more. */
bool slab_is_short(void);

#endif
