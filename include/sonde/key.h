/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and names. A key is a small value, passed in two registers. SONDE_KEY("http.route") makes one
 * from a string literal at compile time: its length and its key number (used to find the rare key that
 * is set twice) cost nothing at run time, and the bytes may be copied in blocks of 16 because the
 * macro pads them. sonde_key_cstr() makes one from any C string, sonde_key_n() from pointer and length. */
#ifndef SONDE_KEY_H
#define SONDE_KEY_H

#include <sonde/api.h>
#include <sonde/limits.h>
#include <string.h>

SONDE_BEGIN

/** An attribute key or a span, event or log name, UTF-8. Borrowed wherever it is passed.
 *  text    length bytes, and 16 more readable ones when padded is 1; NUL or not.
 *  length  bytes, 0..SONDE_NAME_SIZE_MAX; keys at most SONDE_KEY_SIZE_MAX, else the attribute is dropped and counted.
 *  bits    two key numbers, 0..63 each; equal keys have equal numbers, whatever made them. */
struct sonde_key {
    const char *text;
    uint32_t length;
    uint8_t bits[2];
    uint8_t padded;
    uint8_t reserved;
};

/* The key numbers are a function of length and four bytes, so that a compiler folds them for a literal:
 * first, last, the one a third from the end, and the middle one tell most semantic-convention keys apart. The factors
 * were searched for so that keys of HTTP, database, messaging and RPC spans seldom share a number. */
#define SONDE_KEY_BYTE(s, i) SONDE_CAST(uint32_t, SONDE_CAST(unsigned char, (s)[i]))
#define SONDE_KEY_MIX(s, n)                                                                                            \
    ((n) == 0u ? 0u                                                                                                    \
               : (SONDE_CAST(uint32_t, n) * 0x5892DDA1u) ^ (SONDE_KEY_BYTE(s, 0) * 0x83F7BAE1u) ^                      \
                     (SONDE_KEY_BYTE(s, (n)-1u) * 0xEF729DDFu) ^ (SONDE_KEY_BYTE(s, (n) / 2u) * 0xA523A00Bu) ^         \
                     (SONDE_KEY_BYTE(s, (n)-1u - (n) / 3u) * 0xFAA54607u))

static inline struct sonde_key sonde_key_make(const char *text, size_t length, uint32_t mix, int padded) {
    struct sonde_key key;
    key.text = text;
    key.length = SONDE_CAST(uint32_t, length);
    key.bits[0] = SONDE_CAST(uint8_t, (mix >> 26) & 63u);
    key.bits[1] = SONDE_CAST(uint8_t, (mix >> 15) & 63u);
    key.padded = SONDE_CAST(uint8_t, padded);
    key.reserved = 0;
    return key;
}

/** A key from a string literal (only a literal: the macro pastes text behind it). */
#define SONDE_KEY(literal)                                                                                             \
    sonde_key_make("" literal "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", sizeof(literal) - 1u,                                  \
                   SONDE_KEY_MIX("" literal, sizeof(literal) - 1u), 1)
/** A span, event or log name from a string literal. */
#define SONDE_NAME(literal) SONDE_KEY(literal)

/** A key or name from a pointer and a length (bytes; no NUL needed). Borrowed. */
static inline struct sonde_key sonde_key_n(const char *text, size_t length) {
    return sonde_key_make(text, length, SONDE_KEY_MIX(text, length), 0);
}

/** A key or name from a NUL-terminated string. Borrowed. */
static inline struct sonde_key sonde_key_cstr(const char *text) {
    return sonde_key_n(text, strlen(text));
}

SONDE_END

#endif
