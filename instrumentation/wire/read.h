/* SPDX-License-Identifier: Apache-2.0 */
/* Reading protobuf in place: every function takes where it is and where the bytes end, and gives where it got to, or
 * NULL when the bytes do not follow the format. Nothing is read at or past end.
 * Source: protobuf encoding specification. */
#ifndef SONDE_WIRE_READ_H
#define SONDE_WIRE_READ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum sonde__wire_type {
    SONDE__WIRE_VARINT = 0,
    SONDE__WIRE_FIXED64 = 1,
    SONDE__WIRE_BYTES = 2,
    SONDE__WIRE_FIXED32 = 5
};
/* A tag as its varint's value, for case labels. */
#define SONDE__TAG(field, wire_type) ((unsigned)(field) << 3 | (unsigned)(wire_type))

/* The slow sides: values of more than one byte. */
const uint8_t *sonde__read_varint_slow(const uint8_t *p, const uint8_t *end, uint64_t *ret_value);
const uint8_t *sonde__read_size_slow(const uint8_t *p, const uint8_t *end, size_t *ret_size);
/** Passes over a field of this wire type; groups (3, 4) and what is not defined are refused. */
const uint8_t *sonde__read_skip(const uint8_t *p, const uint8_t *end, unsigned wire_type);

/** A varint of 1 to 10 bytes. */
static inline const uint8_t *sonde__read_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret_value) {
    if (__builtin_expect(p < end && *p < 0x80, 1)) {
        *ret_value = *p;
        return p + 1;
    }
    return sonde__read_varint_slow(p, end, ret_value);
}

/** The length of a length-delimited field, at most 5 bytes as decoders ask, and checked to lie before end. */
static inline const uint8_t *sonde__read_size(const uint8_t *p, const uint8_t *end, size_t *ret_size) {
    if (__builtin_expect(p < end && *p < 0x80, 1)) {
        *ret_size = *p++;
        return *ret_size <= (size_t)(end - p) ? p : NULL;
    }
    return sonde__read_size_slow(p, end, ret_size);
}

static inline uint64_t sonde__load64(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}
static inline uint32_t sonde__load32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}
static inline uint16_t sonde__load16(const uint8_t *p) {
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

#endif
