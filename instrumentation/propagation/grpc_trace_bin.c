/* SPDX-License-Identifier: Apache-2.0 */
/* OpenCensus' binary format, as gRPC metadata carries it: 00 | 00 trace id[16] | 01 span id[8] | 02 flags[1], 29 bytes,
 * in base64 under the name grpc-trace-bin. Fields come in the order of their numbers; an unknown one ends the reading
 * and what came before it counts. Source: census-instrumentation/opencensus-specs, encodings/BinaryEncoding.md;
 * grpc/grpc, doc/PROTOCOL-HTTP2.md (base64, padded or not; a proxy may join repeated values by a comma). */
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    FIELD_TRACE_ID = 0,
    FIELD_SPAN_ID = 1,
    FIELD_FLAGS = 2,
    SPAN_ID_AT = 18, /* of its number */
    FLAGS_AT = 27,
    FLAGS_KNOWN = SONDE_TRACE_FLAG_SAMPLED | SONDE_TRACE_FLAG_RANDOM,
    TEXT_SIZE_MAX = 256,
};

bool sonde__grpc_bin_write(const struct sonde_span_context *span, uint8_t ret_bytes[SONDE__GRPC_BIN_SIZE]) {
    if (!sonde_span_context_is_valid(span))
        return false;
    ret_bytes[0] = 0; /* version */
    ret_bytes[1] = FIELD_TRACE_ID;
    memcpy(ret_bytes + 2, span->trace_id, 16);
    ret_bytes[SPAN_ID_AT] = FIELD_SPAN_ID;
    memcpy(ret_bytes + SPAN_ID_AT + 1, span->span_id, 8);
    ret_bytes[FLAGS_AT] = FIELD_FLAGS;
    ret_bytes[FLAGS_AT + 1] = span->flags & FLAGS_KNOWN;
    return true;
}

enum sonde_extract_reason sonde__grpc_bin_read(const uint8_t *bytes, size_t size, struct sonde_span_context *ret_span) {
    struct sonde_span_context span = {.is_remote = 1};
    if (size < 2)
        return SONDE_EXTRACT_LENGTH;
    if (bytes[0] != 0)
        return SONDE_EXTRACT_VERSION;
    if (bytes[1] != FIELD_TRACE_ID)
        return SONDE_EXTRACT_FIELDS;
    if (size < SPAN_ID_AT || (size > SPAN_ID_AT && bytes[SPAN_ID_AT] == FIELD_SPAN_ID && size < FLAGS_AT))
        return SONDE_EXTRACT_LENGTH;
    if (size == SPAN_ID_AT || bytes[SPAN_ID_AT] != FIELD_SPAN_ID)
        return SONDE_EXTRACT_FIELDS; /* a trace without a span to be a child of */
    memcpy(span.trace_id, bytes + 2, 16);
    memcpy(span.span_id, bytes + SPAN_ID_AT + 1, 8);
    if (size > FLAGS_AT && bytes[FLAGS_AT] == FIELD_FLAGS) {
        if (size == FLAGS_AT + 1)
            return SONDE_EXTRACT_LENGTH;
        span.flags = bytes[FLAGS_AT + 1] & FLAGS_KNOWN;
    }
    if (!sonde_span_context_is_valid(&span))
        return SONDE_EXTRACT_ZERO_ID;
    *ret_span = span;
    return SONDE_EXTRACT_OK;
}

/* ---- base64 ---- */

static const char alphabet[64] = {'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P',
                                  'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f',
                                  'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v',
                                  'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '/'};

/* Value of a digit + 1; 0 = none. */
#define DIGITS(first, value)                                                                                           \
    [first] = value, [(first) + 1] = (value) + 1, [(first) + 2] = (value) + 2, [(first) + 3] = (value) + 3,            \
    [(first) + 4] = (value) + 4
static const uint8_t values[256] = {
    DIGITS('A', 1),  DIGITS('F', 6),  DIGITS('K', 11), DIGITS('P', 16), DIGITS('U', 21), ['Z'] = 26,
    DIGITS('a', 27), DIGITS('f', 32), DIGITS('k', 37), DIGITS('p', 42), DIGITS('u', 47), ['z'] = 52,
    DIGITS('0', 53), DIGITS('5', 58), ['+'] = 63,      ['/'] = 64,
};

static inline void write_group(uint64_t group, char *ret_text) {
    for (unsigned k = 0; k < 4; k++)
        ret_text[k] = alphabet[group >> (18 - 6 * k) & 63];
}

/** The 29 bytes in groups of three, straight from the ids. */
size_t sonde__grpc_text_write(const struct sonde_span_context *span, char ret_text[SONDE__GRPC_TEXT_SIZE]) {
    uint64_t high = sonde__id_number(span->trace_id), low = sonde__id_number(span->trace_id + 8);
    uint64_t id = sonde__id_number(span->span_id), flags = span->flags & FLAGS_KNOWN;
    if ((high | low) == 0 || id == 0)
        return 0;
    write_group(high >> 56, ret_text); /* version and field number are zero */
    write_group(high >> 32, ret_text + 4);
    write_group(high >> 8, ret_text + 8);
    write_group(high << 16 | low >> 48, ret_text + 12);
    write_group(low >> 24, ret_text + 16);
    write_group(low, ret_text + 20);
    write_group((uint64_t)FIELD_SPAN_ID << 16 | id >> 48, ret_text + 24);
    write_group(id >> 24, ret_text + 28);
    write_group(id, ret_text + 32);
    ret_text[36] = alphabet[FIELD_FLAGS >> 2];
    ret_text[37] = alphabet[(FIELD_FLAGS << 4 & 63) | flags >> 4];
    ret_text[38] = alphabet[flags << 2 & 63];
    return SONDE__GRPC_TEXT_SIZE;
}

/** Returns false on what is not base64. Bits beyond the last byte are not looked at. */
static bool decode(const char *text, size_t size, uint8_t *ret_bytes, size_t *ret_size) {
    size_t at = 0, i = 0;
    uint32_t bad = 0, group = 0;
    for (; i + 4 <= size; i += 4, at += 3) {
        group = 0;
        for (size_t k = 0; k < 4; k++) {
            unsigned value = values[(uint8_t)text[i + k]] - 1u;
            bad |= value;
            group = group << 6 | (value & 63);
        }
        ret_bytes[at] = (uint8_t)(group >> 16);
        ret_bytes[at + 1] = (uint8_t)(group >> 8);
        ret_bytes[at + 2] = (uint8_t)group;
    }
    size_t rest = size - i;
    if (rest == 1 || bad > 63)
        return false;
    group = 0;
    for (size_t k = 0; k < rest; k++) {
        unsigned value = values[(uint8_t)text[i + k]] - 1u;
        bad |= value;
        group |= (value & 63) << (18 - 6 * k);
    }
    for (size_t k = 0; k + 1 < rest; k++)
        ret_bytes[at++] = (uint8_t)(group >> (16 - 8 * k));
    *ret_size = at;
    return bad <= 63;
}

/** What is not the usual 29 bytes. */
static __attribute__((noinline)) enum sonde_extract_reason read_any(const char *text, size_t size,
                                                                    struct sonde__ids *ids) {
    struct sonde_span_context span;
    uint8_t bytes[TEXT_SIZE_MAX];
    if (size > TEXT_SIZE_MAX)
        return SONDE_EXTRACT_LENGTH;
    if (memchr(text, ',', size))
        return SONDE_EXTRACT_DUPLICATE;
    if (size && size % 4 == 0 && text[size - 1] == '=')
        size -= text[size - 2] == '=' ? 2 : 1;
    if (!decode(text, size, bytes, &size))
        return SONDE_EXTRACT_ENCODING;
    enum sonde_extract_reason reason = sonde__grpc_bin_read(bytes, size, &span);
    if (reason == SONDE_EXTRACT_OK)
        memcpy(ids, &span, sizeof *ids); /* the same words in the same order */
    return reason;
}
_Static_assert(sizeof(struct sonde__ids) == sizeof(struct sonde_span_context), "a span context is its words");

#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
/* Bytes of a range, as all ones: moved to the lower end of the signed bytes it is one comparison. */
static inline __m128i in_range(__m128i x, char first, char last) {
    __m128i moved = _mm_add_epi8(x, _mm_set1_epi8((char)(-128 - first)));
    return _mm_cmplt_epi8(moved, _mm_set1_epi8((char)(-128 + last - first + 1)));
}

/** Sixteen digits as four groups, each in 32 bits. What is no digit clears bits of *good. */
static inline __m128i read_groups16(__m128i x, __m128i *good) {
    __m128i upper = in_range(x, 'A', 'Z'), lower = in_range(x, 'a', 'z'), digit = in_range(x, '0', '9');
    __m128i plus = _mm_cmpeq_epi8(x, _mm_set1_epi8('+')), slash = _mm_cmpeq_epi8(x, _mm_set1_epi8('/'));
    __m128i shift = _mm_and_si128(upper, _mm_set1_epi8(-'A'));
    shift = _mm_or_si128(shift, _mm_and_si128(lower, _mm_set1_epi8(26 - 'a')));
    shift = _mm_or_si128(shift, _mm_and_si128(digit, _mm_set1_epi8(52 - '0')));
    shift = _mm_or_si128(shift, _mm_and_si128(plus, _mm_set1_epi8(62 - '+')));
    shift = _mm_or_si128(shift, _mm_and_si128(slash, _mm_set1_epi8(63 - '/')));
    *good =
        _mm_and_si128(*good, _mm_or_si128(_mm_or_si128(upper, lower), _mm_or_si128(digit, _mm_or_si128(plus, slash))));
    x = _mm_add_epi8(x, shift);
    /* Pairs of 6 bits, then of 12. */
    x = _mm_or_si128(_mm_slli_epi16(_mm_and_si128(x, _mm_set1_epi16(0xff)), 6), _mm_srli_epi16(x, 8));
    return _mm_madd_epi16(x, _mm_set1_epi32(1 << 16 | 1 << 12));
}

static inline void spread(__m128i groups, uint64_t ret_groups[4]) {
    uint64_t low = (uint64_t)_mm_cvtsi128_si64(groups);
    uint64_t high = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(groups, groups));
    ret_groups[0] = (uint32_t)low, ret_groups[1] = low >> 32;
    ret_groups[2] = (uint32_t)high, ret_groups[3] = high >> 32;
}

static inline bool read_groups(const char *text, uint64_t ret_groups[10]) {
    const __m128i *in = (const __m128i *)(const void *)text;
    __m128i good = _mm_set1_epi8(-1);
    /* The last fifteen digits, and 'A' behind them. */
    __m128i last = _mm_srli_si128(_mm_loadu_si128((const __m128i *)(const void *)(text + 23)), 1);
    last = _mm_or_si128(last, _mm_slli_si128(_mm_cvtsi32_si128('A'), 15));
    spread(read_groups16(_mm_loadu_si128(in), &good), ret_groups);
    __m128i middle = read_groups16(_mm_loadu_si128(in + 1), &good);
    uint64_t two = (uint64_t)_mm_cvtsi128_si64(middle);
    ret_groups[4] = (uint32_t)two, ret_groups[5] = two >> 32;
    spread(read_groups16(last, &good), ret_groups + 6);
    return _mm_movemask_epi8(good) == 0xffff;
}
#else
/** The 39 digits of 29 bytes as ten groups of 24 bits. Returns false when one is no digit. */
static inline bool read_groups(const char *text, uint64_t ret_groups[10]) {
    const char last[4] = {text[36], text[37], text[38], 'A'};
    unsigned bad = 0;
    for (int i = 0; i < 10; i++) {
        const char *at = i < 9 ? text + 4 * i : last;
        unsigned a = values[(uint8_t)at[0]] - 1u, b = values[(uint8_t)at[1]] - 1u;
        unsigned c = values[(uint8_t)at[2]] - 1u, d = values[(uint8_t)at[3]] - 1u;
        bad |= a | b | c | d;
        ret_groups[i] = (a << 18 | b << 12 | c << 6 | d) & 0xffffff;
    }
    return bad <= 63;
}
#endif

/** The 29 bytes as all writers write them, put together in registers: a group is three bytes. */
static inline enum sonde_extract_reason read_text(const char *text, size_t size, struct sonde__ids *ids) {
    uint64_t groups[10];
    if (size != SONDE__GRPC_TEXT_SIZE && (size != SONDE__GRPC_TEXT_SIZE + 1 || text[size - 1] != '='))
        return read_any(text, size, ids);
    bool good = read_groups(text, groups);
    uint64_t high = groups[0] << 56 | groups[1] << 32 | groups[2] << 8 | groups[3] >> 16;
    uint64_t low = groups[3] << 48 | groups[4] << 24 | groups[5];
    uint64_t span = groups[6] << 48 | groups[7] << 24 | groups[8];
    if (!good || groups[0] >> 8 || groups[6] >> 16 != FIELD_SPAN_ID || groups[9] >> 16 != FIELD_FLAGS ||
        (high | low) == 0 || span == 0)
        return read_any(text, size, ids);
    *ids = (struct sonde__ids){__builtin_bswap64(high), __builtin_bswap64(low), __builtin_bswap64(span),
                               SONDE__STATE_REMOTE | (groups[9] >> 8 & FLAGS_KNOWN)};
    return SONDE_EXTRACT_OK;
}

enum sonde_extract_reason sonde__grpc_text_read(const char *text, size_t size, struct sonde_span_context *ret_span) {
    struct sonde__ids ids;
    enum sonde_extract_reason reason = read_text(text, size, &ids);
    if (reason == SONDE_EXTRACT_OK)
        sonde__ids_store(ret_span, &ids);
    return reason;
}

/* ---- the propagator ---- */

static int grpc_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char text[SONDE__GRPC_TEXT_SIZE];
    size_t size = sonde__grpc_text_write(&context->span, text);
    return size ? sonde__carrier_set(carrier, SONDE__FIELD_GRPC_TRACE_BIN, text, size) : 0;
}

struct found {
    struct sonde__ids ids;
    enum sonde_extract_reason reason;
    unsigned count;
};

static bool visit(void *user, struct sonde_string text) {
    struct found *found = user;
    found->reason =
        found->count++ ? SONDE_EXTRACT_DUPLICATE : read_text(text.data ? text.data : "", text.size, &found->ids);
    return found->count < 2;
}

static enum sonde_extract_reason grpc_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct found found; /* not zeroed: ids are there when the reason says so */
    found.reason = SONDE_EXTRACT_ABSENT;
    found.count = 0;
    sonde__source_each(source, SONDE__FIELD_GRPC_TRACE_BIN, visit, &found);
    if (found.reason == SONDE_EXTRACT_OK)
        sonde__context_found(context, &found.ids);
    return found.reason;
}

const struct sonde__propagator sonde__propagator_grpc_trace_bin = {
    .name = "grpc-trace-bin",
    .summary = "OpenCensus' binary format in gRPC metadata: grpc-trace-bin",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_GRPC_TRACE_BIN),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_GRPC_TRACE_BIN),
    .inject = grpc_inject,
    .extract = grpc_extract,
};
