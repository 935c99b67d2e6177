/*
 * Runs of ordinary bytes in a message, 64 at a time: CRLF in pairs, no NUL, no end. In masks of
 * one bit for each byte,
 *
 *   pairs are whole       LF == CR << 1
 *   the end may be here   LF & LF << 3, which is rare, and then only behind a dot
 *
 * A block with anything else in it is left to the plain version, which finds the exact place.
 * The differential fuzzer and the tests hold both against each other.
 */
#include "proxy/smtp/data.h"

#include <string.h>

#define BLOCK 64

size_t smtp_data_skip_scalar(const char *in, size_t length, uint8_t *position)
{
    uint8_t at = *position;
    size_t i = 0;
    for (; i < length; i++) {
        if (in[i] == '\r') {
            if (at == SMTP_DATA_DOT || i + 1 == length || in[i + 1] != '\n')
                break;
            at = SMTP_DATA_LINE_START;
            i++;
        } else if (in[i] == '.') {
            if (at == SMTP_DATA_SOFT_START)
                break;
            at = at == SMTP_DATA_LINE_START ? SMTP_DATA_DOT : SMTP_DATA_TEXT;
        } else if (in[i] == '\n' || in[i] == '\0') {
            break;
        } else {
            at = SMTP_DATA_TEXT;
        }
    }
    *position = at;
    return i;
}

#if defined(__x86_64__)

#include <immintrin.h>

struct masks {
    uint64_t cr, lf, dot;
    bool nul;
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The loader of a block's masks; `dot` only if it is asked for. */
typedef void load_masks(const char *block, struct masks *out);
typedef uint64_t load_dots(const char *block);

ALWAYS_INLINE uint64_t bits_sse2(__m128i a, __m128i b, __m128i c, __m128i d)
{
    uint64_t low = (uint32_t)_mm_movemask_epi8(a) | (uint32_t)_mm_movemask_epi8(b) << 16;
    uint64_t high = (uint32_t)_mm_movemask_epi8(c) | (uint32_t)_mm_movemask_epi8(d) << 16;
    return low | high << 32;
}

ALWAYS_INLINE uint64_t equal_sse2(const char *block, char byte)
{
    const __m128i *at = (const __m128i *)(const void *)block;
    __m128i wanted = _mm_set1_epi8(byte);
    return bits_sse2(_mm_cmpeq_epi8(_mm_loadu_si128(at), wanted),
                     _mm_cmpeq_epi8(_mm_loadu_si128(at + 1), wanted),
                     _mm_cmpeq_epi8(_mm_loadu_si128(at + 2), wanted),
                     _mm_cmpeq_epi8(_mm_loadu_si128(at + 3), wanted));
}

ALWAYS_INLINE void masks_sse2(const char *block, struct masks *out)
{
    const __m128i *at = (const __m128i *)(const void *)block;
    __m128i least =
        _mm_min_epu8(_mm_min_epu8(_mm_loadu_si128(at), _mm_loadu_si128(at + 1)),
                     _mm_min_epu8(_mm_loadu_si128(at + 2), _mm_loadu_si128(at + 3)));
    out->nul = _mm_movemask_epi8(_mm_cmpeq_epi8(least, _mm_setzero_si128())) != 0;
    out->cr = equal_sse2(block, '\r');
    out->lf = equal_sse2(block, '\n');
}

ALWAYS_INLINE uint64_t dots_sse2(const char *block)
{
    return equal_sse2(block, '.');
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline uint64_t equal_avx2(__m256i low, __m256i high, char byte)
{
    __m256i wanted = _mm256_set1_epi8(byte);
    uint64_t first = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted));
    uint64_t second = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted));
    return first | second << 32;
}

AVX2 static inline void masks_avx2(const char *block, struct masks *out)
{
    const __m256i *at = (const __m256i *)(const void *)block;
    __m256i low = _mm256_loadu_si256(at), high = _mm256_loadu_si256(at + 1);
    __m256i nul = _mm256_cmpeq_epi8(_mm256_min_epu8(low, high), _mm256_setzero_si256());
    out->nul = !_mm256_testz_si256(nul, nul);
    out->cr = equal_avx2(low, high, '\r');
    out->lf = equal_avx2(low, high, '\n');
}

AVX2 static inline uint64_t dots_avx2(const char *block)
{
    const __m256i *at = (const __m256i *)(const void *)block;
    return equal_avx2(_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1), '.');
}

/*
 * How many bytes in whole blocks are ordinary. `in` continues at a line start or in text; byte
 * -1 is then taken for LF or for text. A last CR is counted: the caller takes it back.
 */
ALWAYS_INLINE size_t skip_blocks(const char *in, size_t length, bool line_start,
                                 load_masks *load, load_dots *load_dot)
{
    uint64_t cr_before = 0, lf_before = line_start ? UINT64_C(1) << 63 : 0;
    size_t done = 0;
    for (; length - done >= BLOCK; done += BLOCK) {
        struct masks now;
        load(in + done, &now);
        uint64_t pairs = now.cr << 1 | cr_before >> 63;
        uint64_t close = now.lf & (now.lf << 3 | lf_before >> 61);
        if (now.lf != pairs || now.nul)
            break;
        if (close) {
            uint64_t dots = load_dot(in + done) << 2;
            if (done > 0)
                dots |= (uint64_t)(in[done - 2] == '.') | (uint64_t)(in[done - 1] == '.') << 1;
            if (close & dots)
                break;
        }
        cr_before = now.cr;
        lf_before = now.lf;
    }
    return done;
}

AVX2 static size_t blocks_avx2(const char *in, size_t length, bool line_start)
{
    return skip_blocks(in, length, line_start, masks_avx2, dots_avx2);
}

static size_t blocks_sse2(const char *in, size_t length, bool line_start)
{
    return skip_blocks(in, length, line_start, masks_sse2, dots_sse2);
}

typedef size_t skip_blocks_with(const char *in, size_t length, bool line_start);
static skip_blocks_with choose;

/* Chosen at the first call, and never asked again. */
static skip_blocks_with *blocks = choose;

static size_t choose(const char *in, size_t length, bool line_start)
{
    blocks = __builtin_cpu_supports("avx2") ? blocks_avx2 : blocks_sse2;
    return blocks(in, length, line_start);
}

/* The position behind ordinary bytes, at least three of them, the last not a CR. */
static uint8_t position_behind(const char *end)
{
    if (end[-1] == '\n')
        return SMTP_DATA_LINE_START;
    return end[-1] == '.' && end[-2] == '\n' ? SMTP_DATA_DOT : SMTP_DATA_TEXT;
}

/* Blocks begin at a line start or in text: two bytes lead there from every other position. */
static size_t lead_in(const char *in, size_t length, uint8_t *position)
{
    if (*position == SMTP_DATA_LINE_START || *position == SMTP_DATA_TEXT)
        return 0;
    return smtp_data_skip_scalar(in, length < 2 ? length : 2, position);
}

static size_t skip(const char *in, size_t length, uint8_t *position, skip_blocks_with *whole)
{
    size_t done = lead_in(in, length, position);
    bool simple = *position == SMTP_DATA_LINE_START || *position == SMTP_DATA_TEXT;
    if (simple && length - done >= BLOCK) {
        size_t run = whole(in + done, length - done, *position == SMTP_DATA_LINE_START);
        if (run > 0) {
            done += run - (in[done + run - 1] == '\r');
            *position = position_behind(in + done);
        }
    }
    return done + smtp_data_skip_scalar(in + done, length - done, position);
}

size_t smtp_data_skip_baseline(const char *in, size_t length, uint8_t *position)
{
    return skip(in, length, position, blocks_sse2);
}

size_t smtp_data_skip_best(const char *in, size_t length, uint8_t *position)
{
    return skip(in, length, position, blocks);
}

#else

size_t smtp_data_skip_baseline(const char *in, size_t length, uint8_t *position)
{
    return smtp_data_skip_scalar(in, length, position);
}

size_t smtp_data_skip_best(const char *in, size_t length, uint8_t *position)
{
    return smtp_data_skip_scalar(in, length, position);
}

#endif
