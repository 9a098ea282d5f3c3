/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as proto3 strings demand it: one bad byte makes a backend refuse the whole request, so it is checked and
 * repaired where the text is recorded. A bad sequence is replaced as Unicode recommends: one U+FFFD for the longest
 * prefix of a well-formed character, else for one byte (The Unicode Standard, 3.9, table 3-7 and "maximal subpart"). */
#include "instrumentation/wire/block.h"
#include "instrumentation/wire/writer.h"

static const uint8_t replacement[3] = {0xEF, 0xBF, 0xBD};

/* Length of the character or bad sequence at text (size >= 1); *ret_bad tells which. */
static size_t step(const uint8_t *text, size_t size, bool *ret_bad) {
    uint8_t first = text[0], low = 0x80, high = 0xBF;
    *ret_bad = false;
    if (first < 0x80)
        return 1;
    size_t want = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4) {
        *ret_bad = true;
        return 1;
    }
    if (first == 0xE0)
        low = 0xA0; /* overlong */
    else if (first == 0xED)
        high = 0x9F; /* surrogates */
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F; /* past U+10FFFF */
    for (size_t i = 1; i < want; i++) {
        if (i >= size || text[i] < low || text[i] > high) {
            *ret_bad = true;
            return i;
        }
        low = 0x80;
        high = 0xBF;
    }
    return want;
}

/* Bytes at the start that are ASCII, in blocks of 8. */
static size_t ascii_run(const uint8_t *text, size_t size) {
    size_t at = 0;
    while (at + 8 <= size && !(sonde__load64(text + at) & SONDE__HIGH_BITS))
        at += 8;
    return at;
}

bool sonde__utf8_is_valid(const void *text, size_t size) {
    const uint8_t *bytes = text;
    for (size_t at = 0; at < size;) {
        bool bad;
        at += ascii_run(bytes + at, size - at);
        if (at == size)
            break;
        at += step(bytes + at, size - at, &bad);
        if (bad)
            return false;
    }
    return true;
}

size_t sonde__utf8_cut(const char *text, size_t size, size_t limit) {
    if (size <= limit)
        return size;
    size_t cut = limit;
    while (cut > 0 && limit - cut < 3 && ((uint8_t)text[cut] & 0xC0) == 0x80)
        cut--;
    return ((uint8_t)text[cut] & 0xC0) == 0x80 ? limit : cut; /* a run of continuation bytes is no character */
}

size_t sonde__utf8_cut_characters(const char *text, size_t size, size_t limit) {
    size_t at = 0;
    bool bad;
    for (size_t i = 0; i < limit && at < size; i++)
        at += step((const uint8_t *)text + at, size - at, &bad);
    return at;
}

/* Walks whole characters while their repaired size stays within limit; returns the bytes walked over. */
static size_t walk_repaired(const char *text, size_t size, size_t limit, size_t *ret_repaired) {
    size_t at = 0, total = 0;
    while (at < size) {
        bool bad;
        size_t length = step((const uint8_t *)text + at, size - at, &bad);
        size_t written = bad ? sizeof replacement : length;
        if (written > limit - total)
            break;
        total += written;
        at += length;
    }
    *ret_repaired = total;
    return at;
}

size_t sonde__utf8_repaired_size(const char *text, size_t size) {
    size_t repaired;
    (void)walk_repaired(text, size, SIZE_MAX, &repaired); /* all of it */
    return repaired;
}

size_t sonde__utf8_cut_repaired(const char *text, size_t size, size_t limit) {
    size_t repaired;
    return walk_repaired(text, size, limit, &repaired);
}

void sonde__utf8_repair(uint8_t *to, const char *text, size_t size) {
    for (size_t at = 0; at < size;) {
        bool bad;
        size_t length = step((const uint8_t *)text + at, size - at, &bad);
        size_t written = bad ? sizeof replacement : length;
        memcpy(to, bad ? replacement : (const uint8_t *)text + at, written);
        to += written;
        at += length;
    }
}
