/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-1-3 with 128 bits: a hash with a secret key, so that nobody outside can choose inputs that fall together.
 * Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF"; one round a word and three at the end, as hash tables
 * of Rust, Python and Ruby have it. Little-endian machines. */
#ifndef SONDE_RESILIENCE_SIPHASH_H
#define SONDE_RESILIENCE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t sonde__turn(uint64_t value, int by) {
    return value << by | value >> (64 - by);
}
static inline void sonde__sip_round(uint64_t v[4]) {
    v[0] += v[1], v[2] += v[3];
    v[1] = sonde__turn(v[1], 13) ^ v[0], v[3] = sonde__turn(v[3], 16) ^ v[2];
    v[0] = sonde__turn(v[0], 32) + v[3], v[2] += v[1];
    v[3] = sonde__turn(v[3], 21) ^ v[0], v[1] = sonde__turn(v[1], 17) ^ v[2];
    v[2] = sonde__turn(v[2], 32);
}

/** data  borrowed, any size; may be NULL with 0. */
static inline void sonde__siphash(const uint64_t key[2], const void *data, size_t size, uint64_t ret_hash[2]) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d ^ 0xee, key[0] ^ 0x6c7967656e657261,
                     key[1] ^ 0x7465646279746573};
    const uint8_t *at = data;
    uint64_t word = 0, last = (uint64_t)size << 56;
    for (size_t left = size; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        v[3] ^= word;
        sonde__sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < (size & 7); i++)
        last |= (uint64_t)at[i] << (8 * i);
    v[3] ^= last;
    sonde__sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xee;
    for (int i = 0; i < 3; i++)
        sonde__sip_round(v);
    ret_hash[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 3; i++)
        sonde__sip_round(v);
    ret_hash[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
