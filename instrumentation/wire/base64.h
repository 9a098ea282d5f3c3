/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 as text of RFC 4648, 4. */
#ifndef SONDE_WIRE_BASE64_H
#define SONDE_WIRE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/** Characters of so many bytes. */
static inline size_t sonde__base64_size(size_t size, bool padded) {
    return size / 3 * 4 + (size % 3 == 0 ? 0 : padded ? 4 : size % 3 + 1);
}

/** Writes them, without a NUL.
 *  bytes    borrowed.
 *  ret_text room for sonde__base64_size(). Returns that size. */
size_t sonde__base64_write(const void *bytes, size_t size, bool padded, char *ret_text);

#endif
