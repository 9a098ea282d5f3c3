/* SPDX-License-Identifier: Apache-2.0 */
/* One short KeyValue (all lengths below 128) written at a known place with a few wide stores: the hot path of span
 * attributes, and of sonde__write_attribute(). `tag` is the whole tag byte of the field that holds the KeyValue.
 * padded is that of the key, which the caller may know. Each returns the byte behind it and may write up to
 * SONDE__ENCODE_SLACK bytes past that; *ret_seen is non-zero when key or value has a byte that is not ASCII (then the
 * bytes must be checked, see wire/utf8.c). Source: opentelemetry-proto, common/v1/common.proto, KeyValue and AnyValue.
 */
#ifndef SONDE_WIRE_ENCODE_H
#define SONDE_WIRE_ENCODE_H

#include "instrumentation/wire/block.h"

#define SONDE__ENCODE_SLACK    24u
/* Bytes round a key and a string value: tag and length of the KeyValue, of the key, of the AnyValue, of the value. */
#define SONDE__ENCODE_OVERHEAD 8u
/* Longest key and string value together that these may write: the KeyValue's own length is one byte. */
#define SONDE__ENCODE_TEXT_MAX (127u - 6u)

/* Tag, length, key; value_size counts the AnyValue field with its tag and length. */
static inline uint8_t *sonde__encode_key(uint8_t *at, uint32_t tag, struct sonde_key key, int padded, size_t value_size,
                                         uint64_t *ret_seen) {
    sonde__store32(at, tag | (uint32_t)(key.length + 2 + value_size) << 8 | 0x0Au << 16 | key.length << 24);
    *ret_seen = sonde__copy_key(at + 4, key, padded);
    return at + 4 + key.length;
}
static inline uint8_t *sonde__encode_string(uint8_t *at, uint32_t tag, struct sonde_key key, int padded,
                                            const char *value, size_t size, uint64_t *ret_seen) {
    at = sonde__encode_key(at, tag, key, padded, size + 4, ret_seen);
    sonde__store32(at, (uint32_t)(0x12u | (size + 2) << 8 | 0x0Au << 16 | size << 24));
    *ret_seen |= sonde__copy_ascii(at + 4, (const uint8_t *)value, size);
    return at + 4 + size;
}
static inline uint8_t *sonde__encode_int64(uint8_t *at, uint32_t tag, struct sonde_key key, int padded, int64_t value,
                                           uint64_t *ret_seen) {
    unsigned length = sonde__varint_length((uint64_t)value);
    at = sonde__encode_key(at, tag, key, padded, length + 3, ret_seen);
    sonde__store32(at, 0x12u | (length + 1) << 8 | 0x18u << 16);
    return at + 3 + sonde__put_varint(at + 3, (uint64_t)value);
}
static inline uint8_t *sonde__encode_double(uint8_t *at, uint32_t tag, struct sonde_key key, int padded, double value,
                                            uint64_t *ret_seen) {
    at = sonde__encode_key(at, tag, key, padded, 11, ret_seen);
    sonde__store32(at, 0x12u | 9u << 8 | 0x21u << 16);
    memcpy(at + 3, &value, 8);
    return at + 11;
}
static inline uint8_t *sonde__encode_bool(uint8_t *at, uint32_t tag, struct sonde_key key, int padded, bool value,
                                          uint64_t *ret_seen) {
    at = sonde__encode_key(at, tag, key, padded, 4, ret_seen);
    sonde__store32(at, 0x12u | 2u << 8 | 0x10u << 16 | (uint32_t)value << 24);
    return at + 4;
}

#endif
