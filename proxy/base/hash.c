/* SipHash-2-4 over bytes in memory, for tables whose keys strangers choose. */
#include "proxy/base/hash.h"

#include <string.h>

struct state {
    uint64_t v[4];
};

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void half_round(uint64_t *a, uint64_t *b, unsigned bits)
{
    *a += *b;
    *b = rotate(*b, bits) ^ *a;
}

static void rounds(struct state *state, unsigned count)
{
    uint64_t *v = state->v;
    while (count-- > 0) {
        half_round(&v[0], &v[1], 13);
        v[0] = rotate(v[0], 32);
        half_round(&v[2], &v[3], 16);
        half_round(&v[0], &v[3], 21);
        half_round(&v[2], &v[1], 17);
        v[2] = rotate(v[2], 32);
    }
}

/* Little-endian, whatever the machine is. */
static uint64_t load(const uint8_t *bytes, size_t length)
{
    uint64_t word = 0;
    for (size_t i = 0; i < length; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

static void absorb(struct state *state, uint64_t word)
{
    state->v[3] ^= word;
    rounds(state, 2);
    state->v[0] ^= word;
}

uint64_t hash_bytes(const uint8_t key[static HASH_KEY_SIZE], const void *bytes, size_t length)
{
    uint64_t k0 = load(key, 8), k1 = load(key + 8, 8);
    struct state state = {{k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
                           k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u}};
    const uint8_t *at = bytes;
    size_t left = length;

    for (; left >= 8; at += 8, left -= 8)
        absorb(&state, load(at, 8));
    absorb(&state, load(at, left) | (uint64_t)length << 56);
    state.v[2] ^= 0xff;
    rounds(&state, 4);
    return state.v[0] ^ state.v[1] ^ state.v[2] ^ state.v[3];
}
