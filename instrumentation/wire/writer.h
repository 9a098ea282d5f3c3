/* SPDX-License-Identifier: Apache-2.0 */
/* Writing protobuf by hand into bounded memory: what libsonde and the agent share.
 * A writer has a buffer and an end; a write that does not fit sets `full` and writes nothing more.
 * Source: protobuf encoding specification. */
#ifndef SONDE_WIRE_WRITER_H
#define SONDE_WIRE_WRITER_H

#include <sonde/attribute.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sonde__writer {
    uint8_t *start, *at, *end;
    bool full;
};

static inline void sonde__writer_init(struct sonde__writer *w, void *buffer, size_t size) {
    w->start = w->at = (uint8_t *)buffer;
    w->end = w->start + size;
    w->full = false;
}
static inline size_t sonde__writer_size(const struct sonde__writer *w) {
    return (size_t)(w->at - w->start);
}

/** Bytes a varint takes, 1..10. */
unsigned sonde__varint_size(uint64_t value);

void sonde__write_varint(struct sonde__writer *w, uint64_t value);
void sonde__write_raw(struct sonde__writer *w, const void *bytes, size_t size);
/* Fields; `field` is the field number. */
void sonde__write_uint(struct sonde__writer *w, uint32_t field, uint64_t value); /* varint */
void sonde__write_fixed64(struct sonde__writer *w, uint32_t field, uint64_t value);
void sonde__write_fixed32(struct sonde__writer *w, uint32_t field, uint32_t value);
void sonde__write_double(struct sonde__writer *w, uint32_t field, double value);
void sonde__write_sint(struct sonde__writer *w, uint32_t field, int64_t value); /* zig-zag */
void sonde__write_bytes(struct sonde__writer *w, uint32_t field, const void *bytes, size_t size);
/** UTF-8 text: bad bytes become U+FFFD. Cut to at most `limit` bytes at a character (SIZE_MAX = no limit). */
void sonde__write_string(struct sonde__writer *w, uint32_t field, const char *text, size_t size, size_t limit);
/** Begin a nested message whose length is not known: reserves `sonde__nested` and closes with sonde__write_end, which
 *  moves the bytes if the length needs more than the 1 byte reserved. Nests to any depth. */
uint8_t *sonde__write_begin(struct sonde__writer *w, uint32_t field);
void sonde__write_end(struct sonde__writer *w, uint8_t *begin);
/** One KeyValue message as field `field` (1..15).
 *  value_limit  the attribute value length limit: strings are cut to so many characters, byte values to so many bytes;
 *               SIZE_MAX = no limit. The key must fit (sonde__key_fits); the whole or nothing is written. */
void sonde__write_attribute(struct sonde__writer *w, uint32_t field, const struct sonde_attribute *attribute,
                            size_t value_limit);

/** A key that can be recorded: not empty, at most SONDE_KEY_SIZE_MAX bytes. */
static inline bool sonde__key_fits(struct sonde_key key) {
    return key.length - 1u < SONDE_KEY_SIZE_MAX;
}

/** An attribute that can be recorded: a key that fits, and no NULL where bytes or elements should be. */
bool sonde__attribute_fits(const struct sonde_attribute *attribute);
/** The attributes that fit as fields `field`, up to count_limit of them. Returns how many of `count` were left out. */
size_t sonde__write_attributes(struct sonde__writer *w, uint32_t field, const struct sonde_attribute *attributes,
                               size_t count, size_t count_limit, size_t value_limit);

/** True when every byte sequence is valid UTF-8 (no surrogates, no overlong forms, up to U+10FFFF). */
bool sonde__utf8_is_valid(const void *text, size_t size);
/** Largest n <= limit such that text[0..n) ends at a character's boundary. */
size_t sonde__utf8_cut(const char *text, size_t size, size_t limit);
/** The same counted in characters: a bad byte sequence is one. */
size_t sonde__utf8_cut_characters(const char *text, size_t size, size_t limit);
/** Size of the text with each bad sequence (its longest prefix of a character) replaced by U+FFFD. */
size_t sonde__utf8_repaired_size(const char *text, size_t size);
/** Largest n of whole characters whose repaired size is at most limit. */
size_t sonde__utf8_cut_repaired(const char *text, size_t size, size_t limit);
/** Writes the repaired text; to has room for sonde__utf8_repaired_size() bytes. */
void sonde__utf8_repair(uint8_t *to, const char *text, size_t size);

#endif
