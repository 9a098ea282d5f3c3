/* SPDX-License-Identifier: Apache-2.0 */
/* Reading baggage from header values. Neighbouring good members are copied together: the usual header, as another SDK
 * wrote it, is checked once and copied once. Source: W3C Baggage, 3.3; policy for bad members: drop them alone. */
#include "instrumentation/context/baggage.h"
#include "instrumentation/context/baggage_class.h"
#include "instrumentation/context/plain_list.h"
#include <string.h>

#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
#include <emmintrin.h>
#endif

/* Bytes looked at over all values of one list: the longest legal list, and as much white space and waste. */
#define SCAN_MAX  (2u * SONDE_BAGGAGE_SIZE_MAX)
/* One pass costs the same up to 64 bytes; a member or two are read faster by themselves. */
#define WHOLE_MIN 32u

#define KEY   SONDE__BAGGAGE_KEY
#define VALUE SONDE__BAGGAGE_VALUE
#define META  SONDE__BAGGAGE_META
#define ALL   (KEY | VALUE | META)
const uint8_t sonde__baggage_class[256] = {
    ['\t'] = META,        [' '] = META,         ['!'] = ALL,          ['#' ... '$'] = ALL, ['%'] = KEY | META,
    ['&' ... '\''] = ALL, ['('] = VALUE | META, [')'] = VALUE | META, ['*' ... '+'] = ALL, ['-' ... '.'] = ALL,
    ['/'] = VALUE | META, ['0' ... '9'] = ALL,  [':'] = VALUE | META, [';'] = META,        ['<' ... '@'] = VALUE | META,
    ['A' ... 'Z'] = ALL,  ['['] = VALUE | META, [']'] = VALUE | META, ['^' ... 'z'] = ALL, ['{'] = VALUE | META,
    ['|'] = ALL,          ['}'] = VALUE | META, ['~'] = ALL,
};
#undef KEY
#undef VALUE
#undef META
#undef ALL

static bool is(char c, unsigned class) {
    return sonde__baggage_class[(uint8_t)c] & class;
}
static bool is_space(char c) {
    return c == ' ' || c == '\t';
}
static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static inline const char *skip_space(const char *at, const char *end) {
    while (at < end && is_space(*at))
        at++;
    return at;
}

static inline const char *skip_class(const char *at, const char *end, unsigned class) {
    while (at < end && is(*at, class))
        at++;
    return at;
}

#if defined(__SSE2__) && !defined(SONDE_NO_SIMD)
/** Sixteen bytes at a time, while there are so many; the classes are those of the table. */
static inline const char *skip_value(const char *at, const char *end) {
    while (end - at >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i stop = _mm_cmplt_epi8(x, _mm_set1_epi8(0x21)); /* signed: 0x80 and above too */
        static const char others[6] = {',', ';', '%', '"', '\\', 0x7f};
        for (int i = 0; i < 6; i++)
            stop = _mm_or_si128(stop, _mm_cmpeq_epi8(x, _mm_set1_epi8(others[i])));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return at + __builtin_ctz(mask);
        at += 16;
    }
    return skip_class(at, end, SONDE__BAGGAGE_VALUE);
}
#else
static inline const char *skip_value(const char *at, const char *end) {
    return skip_class(at, end, SONDE__BAGGAGE_VALUE);
}
#endif

/** End of a value; NULL when it holds a '%' without two hex digits. */
static inline const char *value_end(const char *at, const char *end) {
    while ((at = skip_value(at, end)) < end && *at == '%') {
        if (end - at < 3 || !is_hex(at[1]) || !is_hex(at[2]))
            return NULL;
        at += 3;
    }
    return at;
}

/** A member in the text that is read. */
struct member {
    struct sonde_string key, value, metadata;
    bool is_whole; /* it stands in the text as it is to be kept */
};

static struct sonde_string between(const char *from, const char *to) {
    return (struct sonde_string){from, (size_t)(to - from)};
}

/** Reads the member at `at`. Returns its end (a comma or the text's end), or NULL when it is bad. */
static inline const char *read_member(const char *at, const char *end, struct member *ret_member) {
    const char *key = at, *key_end = skip_class(at, end, SONDE__BAGGAGE_KEY), *equals = skip_space(key_end, end);
    if (key == key_end || equals == end || *equals != '=')
        return NULL;
    const char *value = skip_space(equals + 1, end), *stop = value_end(value, end);
    if (!stop)
        return NULL;
    ret_member->key = between(key, key_end);
    ret_member->value = between(value, stop);
    ret_member->metadata = between(stop, stop);
    ret_member->is_whole = equals == key_end && value == equals + 1;
    at = skip_space(stop, end);
    if (at == end || *at == ',') /* white space behind is no part of it */
        return at;
    if (*at != ';')
        return NULL;
    const char *metadata = skip_space(at + 1, end), *behind = skip_class(metadata, end, SONDE__BAGGAGE_META);
    if (behind < end && *behind != ',')
        return NULL;
    const char *metadata_end = behind;
    while (metadata_end > metadata && is_space(metadata_end[-1]))
        metadata_end--;
    ret_member->metadata = between(metadata, metadata_end);
    ret_member->is_whole &= at == stop && metadata == at + 1 && metadata_end > metadata;
    return behind;
}

/* ---- keeping ---- */

static inline bool mark_key(struct sonde__baggage_reader *reader, struct sonde_string key) {
    uint32_t hash = (uint32_t)key.size * 0x9E3779B1u ^ (uint8_t)key.data[0] * 0x85EBCA6Bu ^
                    (uint8_t)key.data[key.size - 1] * 0xC2B2AE35u ^ (uint8_t)key.data[key.size / 2] * 0x27D4EB2Fu;
    hash ^= hash >> 15;
    uint64_t bit = (uint64_t)1 << (hash & 63), *word = &reader->keys[hash >> 6 & 3];
    bool there = *word & bit;
    *word |= bit;
    return there;
}

/** Members that stand in a row in the text read, not copied yet. */
struct run {
    const char *start, *end;
};

static void append(struct sonde_context *context, const char *text, size_t size) {
    memcpy(context->baggage + context->baggage_length, text, size);
    context->baggage_length += (uint32_t)size;
}

static void flush(struct sonde__baggage_reader *reader, struct run *run) {
    struct sonde_context *context = reader->context;
    if (run->start == run->end)
        return;
    if (context->baggage_length)
        append(context, ",", 1);
    append(context, run->start, (size_t)(run->end - run->start));
    run->start = run->end = NULL;
}

static void keep_parts(struct sonde_context *context, const struct member *member) {
    if (context->baggage_length)
        append(context, ",", 1);
    append(context, member->key.data, member->key.size);
    append(context, "=", 1);
    append(context, member->value.data, member->value.size);
    if (member->metadata.size) {
        append(context, ";", 1);
        append(context, member->metadata.data, member->metadata.size);
    }
}

/** Keeps a good member if there is room. */
static inline __attribute__((always_inline)) void keep(struct sonde__baggage_reader *reader,
                                                       const struct member *member, struct run *run) {
    struct sonde_context *context = reader->context;
    size_t size = member->key.size + 1 + member->value.size + (member->metadata.size ? member->metadata.size + 1 : 0);
    if (mark_key(reader, member->key)) {
        flush(reader, run);
        if (sonde_baggage_remove(context, member->key))
            reader->count--;
    }
    size_t pending = (size_t)(run->end - run->start), before = context->baggage_length + pending;
    before += context->baggage_length && pending; /* the comma before the run */
    if (reader->count >= SONDE_BAGGAGE_ENTRIES_MAX || before + (before != 0) + size > SONDE_BAGGAGE_SIZE_MAX) {
        reader->partial = true;
        return;
    }
    reader->count++;
    if (member->is_whole && pending && run->end + 1 == member->key.data) { /* run->end is a comma: nothing else is 1 */
        run->end += 1 + size;
        return;
    }
    flush(reader, run);
    if (member->is_whole) {
        run->start = member->key.data;
        run->end = run->start + size;
    } else {
        keep_parts(context, member);
    }
}

void sonde__baggage_reader_init(struct sonde__baggage_reader *reader, struct sonde_context *context) {
    memset(reader, 0, sizeof *reader);
    reader->context = context;
    if (context->baggage_length > SONDE_BAGGAGE_SIZE_MAX)
        context->baggage_length = 0;
}

/** Fills in what reading member by member goes by, from the context's baggage. */
static void reader_list(struct sonde__baggage_reader *reader) {
    struct sonde_baggage_entry entry;
    const struct sonde_context *context = reader->context;
    reader->count = 0;
    for (uint32_t at = 0; context->baggage_length && sonde_baggage_next(context, &at, &entry); reader->count++)
        (void)mark_key(reader, entry.key);
    reader->is_listed = true;
}

/** A first value that can stay as it is: copied once, checked there. */
static inline bool reader_take_whole(struct sonde__baggage_reader *reader, const char *text, size_t size) {
    struct sonde_context *context = reader->context;
    if (size < WHOLE_MIN || context->baggage_length || reader->is_listed ||
        size > SONDE_BAGGAGE_SIZE_MAX - SONDE__PLAIN_PADDING)
        return false;
    memcpy(context->baggage, text, size);
    reader->count = sonde__plain_baggage(context->baggage, size);
    if (reader->count)
        context->baggage_length = (uint32_t)size;
    return reader->count;
}

void sonde__baggage_reader_feed(struct sonde__baggage_reader *reader, const char *text, size_t size) {
    struct run run = {text, text};
    size_t room = reader->scanned < SCAN_MAX ? SCAN_MAX - reader->scanned : 0;
    if (size > room) {
        size = room;
        while (size && text[size] != ',') /* no half members */
            size--;
        reader->partial = true;
        reader->scanned = SCAN_MAX;
    }
    reader->scanned += size + 1; /* + 1: values without bytes must end somewhere too */
    if (reader_take_whole(reader, text, size))
        return;
    if (!reader->is_listed)
        reader_list(reader);
    for (const char *at = text, *end = text + size; at < end;) {
        struct member member;
        if (is_space(*at) || *at == ',') {
            at++;
            continue;
        }
        const char *behind = read_member(at, end, &member);
        if (behind) {
            keep(reader, &member, &run);
        } else {
            reader->partial = true;
            behind = memchr(at, ',', (size_t)(end - at));
        }
        at = behind ? behind : end;
    }
    flush(reader, &run);
}

void sonde__baggage_add_coded(struct sonde_context *context, struct sonde_string key, struct sonde_string value) {
    struct sonde__baggage_reader reader;
    struct member member = {.key = key, .value = value, .is_whole = false};
    struct run run = {NULL, NULL};
    struct sonde_baggage_entry entry;
    const char *end = value.data + value.size;
    if (sonde_baggage_find(context, key, &entry) && entry.value.size == value.size &&
        memcmp(entry.value.data, value.data, value.size) == 0)
        return; /* of another format, which may know its metadata, too */
    if (!key.size || skip_class(key.data, key.data + key.size, SONDE__BAGGAGE_KEY) != key.data + key.size ||
        value_end(value.data, end) != end)
        return;
    sonde__baggage_reader_init(&reader, context);
    reader_list(&reader);
    keep(&reader, &member, &run);
}
