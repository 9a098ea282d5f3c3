/* SPDX-License-Identifier: Apache-2.0 */
/* Each 64 bytes become words of bits, one word per class of bytes, and the grammar is checked on the words. In a valid
 * list '=' and ',' take turns, members begin at the text's begin and behind commas, and adding the bits of the begins
 * to those of the key characters carries through each key to the byte behind it, which must be the '='. What remains per member is to see whether its key was there before. */
#include "instrumentation/context/plain_list.h"
#include <sonde/limits.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum {
    BLOCK = SONDE__PLAIN_PADDING,
    SHIFT = 64 - 8, /* of a hash, to get a slot */
    FEW_SHIFT = 64 - 6,
    SLOTS = 1 << (64 - SHIFT), /* of keys seen: eight times the members, so that two seldom meet */
    FEW_SLOTS = 1 << (64 - FEW_SHIFT),
    FREE = 0xffff,
    FILLER = ':', /* behind the text: values may hold it, keys may not */
};

/* A bit per byte. start: may begin a key; percent: of baggage; good: a plain list may hold all of them. */
struct bits {
    uint64_t comma, equals, start, key, percent;
    bool good;
};

/* ---- classes of bytes ---- */

/* Eight bytes at a time, all below 0x80: a sum then stays in its byte, and its top bit says "at least". */
#define ONES UINT64_C(0x0101010101010101)
INLINE uint64_t at_least(uint64_t x, unsigned char least) {
    return x + ONES * (0x80u - least);
}
INLINE uint64_t is_between(uint64_t x, unsigned char first, unsigned char last) {
    return at_least(x, first) & ~at_least(x, (unsigned char)(last + 1));
}
/* The top bits of eight bytes, as eight bits. */
INLINE uint64_t gather(uint64_t x) {
    return ((x >> 7 & ONES) * UINT64_C(0x0102040810204080)) >> 56;
}

INLINE uint64_t load8(const char *text) {
    uint64_t x;
    memcpy(&x, text, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

INLINE struct bits tracestate_c(const char *text) {
    struct bits bits = {.comma = 0};
    uint64_t good = ~UINT64_C(0);
    for (unsigned i = 0; i < BLOCK; i += 8) {
        uint64_t raw = load8(text + i), x = raw & ONES * 0x7f;
        uint64_t start = is_between(x, 'a', 'z') | is_between(x, '0', '9');
        uint64_t other = is_between(x, '_', '_') | is_between(x, '-', '-') | is_between(x, '*', '*') |
                         is_between(x, '/', '/') | is_between(x, '@', '@');
        bits.comma |= gather(is_between(x, ',', ',')) << i;
        bits.equals |= gather(is_between(x, '=', '=')) << i;
        bits.start |= gather(start) << i;
        bits.key |= gather(start | other) << i;
        good &= is_between(x, 0x21, 0x7e) & ~raw;
    }
    bits.good = gather(good) == 0xff;
    return bits;
}

INLINE struct bits baggage_c(const char *text) {
    struct bits bits = {.comma = 0};
    uint64_t good = ~UINT64_C(0);
    for (unsigned i = 0; i < BLOCK; i += 8) {
        uint64_t raw = load8(text + i), x = raw & ONES * 0x7f;
        uint64_t none = is_between(x, '"', '"') | is_between(x, ';', ';') | is_between(x, '\\', '\\');
        uint64_t separator = is_between(x, '(', ')') | is_between(x, ',', ',') | is_between(x, '/', '/') |
                             is_between(x, ':', '@') | is_between(x, '[', ']') | is_between(x, '{', '{') |
                             is_between(x, '}', '}');
        bits.comma |= gather(is_between(x, ',', ',')) << i;
        bits.equals |= gather(is_between(x, '=', '=')) << i;
        bits.percent |= gather(is_between(x, '%', '%')) << i;
        bits.key |= gather(~separator) << i;
        good &= is_between(x, 0x21, 0x7e) & ~raw & ~none;
    }
    bits.start = bits.key;
    bits.good = gather(good) == 0xff;
    return bits;
}

#if defined(__SSE2__)
/* Moved to the lower end of the signed bytes, a range is one comparison. */
INLINE __m128i is_between16(__m128i x, char first, char last) {
    __m128i moved = _mm_add_epi8(x, _mm_set1_epi8((char)(-128 - first)));
    return _mm_cmplt_epi8(moved, _mm_set1_epi8((char)(-128 + last - first + 1)));
}
INLINE __m128i is16(__m128i x, char c) {
    return _mm_cmpeq_epi8(x, _mm_set1_epi8(c));
}
INLINE uint64_t gather64(const __m128i x[4]) {
    uint32_t low = (uint32_t)_mm_movemask_epi8(x[0]) | (uint32_t)_mm_movemask_epi8(x[1]) << 16;
    uint32_t high = (uint32_t)_mm_movemask_epi8(x[2]) | (uint32_t)_mm_movemask_epi8(x[3]) << 16;
    return low | (uint64_t)high << 32;
}

INLINE struct bits tracestate_sse2(const char *text) {
    __m128i comma[4], equals[4], start[4], key[4], good = _mm_set1_epi8(-1);
    for (int i = 0; i < 4; i++) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(text + 16 * i));
        comma[i] = is16(x, ',');
        equals[i] = is16(x, '=');
        start[i] = _mm_or_si128(is_between16(x, 'a', 'z'), is_between16(x, '0', '9'));
        key[i] = _mm_or_si128(_mm_or_si128(start[i], is16(x, '_')), _mm_or_si128(is16(x, '-'), is16(x, '*')));
        key[i] = _mm_or_si128(key[i], _mm_or_si128(is16(x, '/'), is16(x, '@')));
        good = _mm_and_si128(good, is_between16(x, 0x21, 0x7e));
    }
    return (struct bits){.comma = gather64(comma),
                         .equals = gather64(equals),
                         .start = gather64(start),
                         .key = gather64(key),
                         .good = _mm_movemask_epi8(good) == 0xffff};
}

INLINE struct bits baggage_sse2(const char *text) {
    __m128i comma[4], equals[4], percent[4], separator[4], good = _mm_set1_epi8(-1);
    for (int i = 0; i < 4; i++) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(text + 16 * i));
        __m128i none = _mm_or_si128(_mm_or_si128(is16(x, '"'), is16(x, ';')), is16(x, '\\'));
        comma[i] = is16(x, ',');
        equals[i] = is16(x, '=');
        percent[i] = is16(x, '%');
        separator[i] = _mm_or_si128(_mm_or_si128(is_between16(x, '(', ')'), comma[i]), is16(x, '/'));
        separator[i] = _mm_or_si128(separator[i], _mm_or_si128(is_between16(x, ':', '@'), is_between16(x, '[', ']')));
        separator[i] = _mm_or_si128(separator[i], _mm_or_si128(is16(x, '{'), is16(x, '}')));
        good = _mm_and_si128(good, _mm_andnot_si128(none, is_between16(x, 0x21, 0x7e)));
    }
    uint64_t key = ~gather64(separator);
    return (struct bits){.comma = gather64(comma),
                         .equals = gather64(equals),
                         .start = key,
                         .key = key,
                         .percent = gather64(percent),
                         .good = _mm_movemask_epi8(good) == 0xffff};
}
#endif

#if defined(__SSE2__)
#define AVX2 __attribute__((target("avx2,bmi,bmi2")))

static inline AVX2 __m256i is_between32(__m256i x, char first, char last) {
    __m256i moved = _mm256_add_epi8(x, _mm256_set1_epi8((char)(-128 - first)));
    return _mm256_cmpgt_epi8(_mm256_set1_epi8((char)(-128 + last - first + 1)), moved);
}
static inline AVX2 __m256i is32(__m256i x, char c) {
    return _mm256_cmpeq_epi8(x, _mm256_set1_epi8(c));
}
static inline AVX2 uint64_t gather64_avx2(const __m256i x[2]) {
    return (uint32_t)_mm256_movemask_epi8(x[0]) | (uint64_t)(uint32_t)_mm256_movemask_epi8(x[1]) << 32;
}

static inline AVX2 struct bits tracestate_avx2(const char *text) {
    __m256i comma[2], equals[2], start[2], key[2], good = _mm256_set1_epi8(-1);
    for (int i = 0; i < 2; i++) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(text + 32 * i));
        comma[i] = is32(x, ',');
        equals[i] = is32(x, '=');
        start[i] = _mm256_or_si256(is_between32(x, 'a', 'z'), is_between32(x, '0', '9'));
        key[i] = _mm256_or_si256(_mm256_or_si256(start[i], is32(x, '_')), _mm256_or_si256(is32(x, '-'), is32(x, '*')));
        key[i] = _mm256_or_si256(key[i], _mm256_or_si256(is32(x, '/'), is32(x, '@')));
        good = _mm256_and_si256(good, is_between32(x, 0x21, 0x7e));
    }
    return (struct bits){.comma = gather64_avx2(comma),
                         .equals = gather64_avx2(equals),
                         .start = gather64_avx2(start),
                         .key = gather64_avx2(key),
                         .good = _mm256_movemask_epi8(good) == -1};
}

static inline AVX2 struct bits baggage_avx2(const char *text) {
    __m256i comma[2], equals[2], percent[2], separator[2], good = _mm256_set1_epi8(-1);
    for (int i = 0; i < 2; i++) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(text + 32 * i));
        __m256i none = _mm256_or_si256(_mm256_or_si256(is32(x, '"'), is32(x, ';')), is32(x, '\\'));
        comma[i] = is32(x, ',');
        equals[i] = is32(x, '=');
        percent[i] = is32(x, '%');
        separator[i] = _mm256_or_si256(_mm256_or_si256(is_between32(x, '(', ')'), comma[i]), is32(x, '/'));
        separator[i] =
            _mm256_or_si256(separator[i], _mm256_or_si256(is_between32(x, ':', '@'), is_between32(x, '[', ']')));
        separator[i] = _mm256_or_si256(separator[i], _mm256_or_si256(is32(x, '{'), is32(x, '}')));
        good = _mm256_and_si256(good, _mm256_andnot_si256(none, is_between32(x, 0x21, 0x7e)));
    }
    uint64_t key = ~gather64_avx2(separator);
    return (struct bits){.comma = gather64_avx2(comma),
                         .equals = gather64_avx2(equals),
                         .start = key,
                         .key = key,
                         .percent = gather64_avx2(percent),
                         .good = _mm256_movemask_epi8(good) == -1};
}
#endif

/* ---- the grammars ---- */

/* strict  of tracestate: no '=' in values, none of which is empty, and no key or value over 256 bytes.
 *  most    members. */
struct grammar {
    struct bits (*classify)(const char *text);
    bool strict;
    size_t size_max;
    uint32_t most;
};

/* What goes on from one block to the next. */
struct scan {
    uint64_t begins;   /* 1: a member begins with the next block */
    uint64_t in_key;   /* 1: the last byte was of a key */
    uint64_t no_value; /* 1: the last byte was the '=' of a member */
};

/* Checks a block; leaves of each member's '=' only the first. */
INLINE bool is_good(struct scan *scan, struct bits *bits, bool strict) {
    uint64_t begins = bits->comma << 1 | scan->begins, carried, ends;
    bool over = __builtin_add_overflow(bits->key, begins, &carried);
    over |= __builtin_add_overflow(carried, scan->in_key, &ends);
    ends &= ~bits->key;
    uint64_t bad = (begins & ~bits->start) | (ends & ~bits->equals);
    if (strict)
        bad |= (ends ^ bits->equals) | ((ends << 1 | scan->no_value) & bits->comma);
    bits->equals = ends;
    *scan = (struct scan){bits->comma >> 63, over, ends >> 63};
    return bits->good && bad == 0;
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Two hex digits behind each '%'; the filler is none. */
static bool is_coded(const char *block, uint64_t percent) {
    for (; percent; percent &= percent - 1) {
        const char *at = block + __builtin_ctzll(percent);
        if (!is_hex(at[1]) || !is_hex(at[2]))
            return false;
    }
    return true;
}

/* ---- keys ---- */

/* Where keys stand that were seen, by a hash. */
struct keys {
    const char *text;
    unsigned shift; /* of a hash of 64 bits */
    uint16_t at[SLOTS];
};

INLINE uint64_t load64(const char *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

/* The key as a whole, up to eight bytes; else what tells most keys apart. */
INLINE uint64_t key_hash(const char *key, size_t size) {
    uint64_t x = load64(key);
    if (size > 8)
        x = x * 3 ^ load64(key + size - 8);
    else
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x >>= -8 * size & 63;
#else
        x <<= -8 * size & 63; /* bytes behind the key go */
#endif
    return x * UINT64_C(0x9E3779B97F4A7C15);
}

/* A slot is taken: by this key (false), or by another, then the next free one is ours. */
static __attribute__((noinline)) bool find_slot(struct keys *keys, uint64_t slot, const char *key, size_t size) {
    for (; keys->at[slot] != FREE; slot = (slot + 1) & (UINT64_MAX >> keys->shift)) {
        const char *other = keys->text + keys->at[slot];
        if (memcmp(other, key, size) == 0 && other[size] == '=')
            return false;
    }
    keys->at[slot] = (uint16_t)(key - keys->text);
    return true;
}

/* False: it was there before. */
INLINE bool note_key(struct keys *keys, const char *key, size_t size) {
    uint64_t slot = key_hash(key, size) >> keys->shift;
    if (__builtin_expect(keys->at[slot] != FREE, 0))
        return find_slot(keys, slot, key, size);
    keys->at[slot] = (uint16_t)(key - keys->text);
    return true;
}

INLINE void clear(struct keys *keys, size_t size) {
    keys->shift = size <= BLOCK ? FEW_SHIFT : SHIFT;
    memset(keys->at, 0xff, FEW_SLOTS * sizeof *keys->at);
    if (size > BLOCK)
        memset(keys->at + FEW_SLOTS, 0xff, (SLOTS - FEW_SLOTS) * sizeof *keys->at);
}
/* Members are counted per block, and take three bytes with their comma: a slot stays free in either case. */
_Static_assert(BLOCK / 3 + 1 < FEW_SLOTS && SONDE_BAGGAGE_ENTRIES_MAX + BLOCK / 3 + 1 < SLOTS &&
                   SONDE_TRACESTATE_MEMBERS_MAX <= SONDE_BAGGAGE_ENTRIES_MAX && SONDE_BAGGAGE_SIZE_MAX < FREE,
               "keys always find a slot, and their places are none that means free");

/* ---- all of it ---- */

INLINE size_t take_first(uint64_t *bits) {
    size_t first = (size_t)__builtin_ctzll(*bits);
    *bits &= *bits - 1;
    return first;
}

INLINE uint32_t scan(char *text, size_t size, struct grammar grammar) {
    struct scan state = {.begins = 1};
    struct keys keys;
    uint32_t count = 0;
    const char *key = text; /* that of the next '=' */
    bool in_value = false;
    if (size == 0 || size > grammar.size_max - BLOCK || text[size - 1] == ',')
        return 0;
    memset(text + size, FILLER, BLOCK);
    keys.text = text;
    clear(&keys, size);
    for (const char *block = text, *end = text + size; block < end; block += BLOCK) {
        struct bits bits = grammar.classify(block);
        if (!is_good(&state, &bits, grammar.strict) || !is_coded(block, bits.percent))
            return 0;
        /* Neither sign in a whole block: rather than count how long a key or value is. */
        if (grammar.strict && !(bits.comma | bits.equals) && end - block >= BLOCK)
            return 0;
        if (in_value && bits.comma) { /* it ends with the comma */
            key = block + take_first(&bits.comma) + 1;
            in_value = false;
        }
        while (bits.equals) {
            size_t key_size = (size_t)(block - key) + take_first(&bits.equals);
            if (!note_key(&keys, key, key_size))
                return 0;
            count++;
            in_value = !bits.comma;
            if (in_value)
                break;
            key = block + take_first(&bits.comma) + 1;
        }
        if (count > grammar.most)
            return 0;
    }
    return state.in_key || (grammar.strict && text[size - 1] == '=') ? 0 : count;
}

#define TRACESTATE(classify)                                                                                           \
    (struct grammar) {                                                                                                 \
        classify, true, SONDE_TRACESTATE_SIZE_MAX, SONDE_TRACESTATE_MEMBERS_MAX                                        \
    }
#define BAGGAGE(classify)                                                                                              \
    (struct grammar) {                                                                                                 \
        classify, false, SONDE_BAGGAGE_SIZE_MAX, SONDE_BAGGAGE_ENTRIES_MAX                                             \
    }

uint32_t sonde__plain_tracestate_c(char *text, size_t size) {
    return scan(text, size, TRACESTATE(tracestate_c));
}
uint32_t sonde__plain_baggage_c(char *text, size_t size) {
    return scan(text, size, BAGGAGE(baggage_c));
}
#if defined(__SSE2__)
uint32_t sonde__plain_tracestate_sse2(char *text, size_t size) {
    return scan(text, size, TRACESTATE(tracestate_sse2));
}
uint32_t sonde__plain_baggage_sse2(char *text, size_t size) {
    return scan(text, size, BAGGAGE(baggage_sse2));
}
AVX2 uint32_t sonde__plain_tracestate_avx2(char *text, size_t size) {
    return scan(text, size, TRACESTATE(tracestate_avx2));
}
AVX2 uint32_t sonde__plain_baggage_avx2(char *text, size_t size) {
    return scan(text, size, BAGGAGE(baggage_avx2));
}
bool sonde__plain_has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#endif

#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
uint32_t sonde__plain_tracestate(char *text, size_t size) {
    return sonde__plain_has_avx2() ? sonde__plain_tracestate_avx2(text, size)
                                   : sonde__plain_tracestate_sse2(text, size);
}
uint32_t sonde__plain_baggage(char *text, size_t size) {
    return sonde__plain_has_avx2() ? sonde__plain_baggage_avx2(text, size) : sonde__plain_baggage_sse2(text, size);
}
#else
uint32_t sonde__plain_tracestate(char *text, size_t size) {
    return sonde__plain_tracestate_c(text, size);
}
uint32_t sonde__plain_baggage(char *text, size_t size) {
    return sonde__plain_baggage_c(text, size);
}
#endif
