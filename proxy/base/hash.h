/* A keyed hash (SipHash-2-4, Aumasson and Bernstein 2012): who does not know the key cannot
 * choose what falls together. Pure. */
#ifndef POSTERN_BASE_HASH_H
#define POSTERN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_KEY_SIZE 16

uint64_t hash_bytes(const uint8_t key[static HASH_KEY_SIZE], const void *bytes, size_t length);

#endif
