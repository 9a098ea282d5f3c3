/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, for what is shown in telemetry without being shown, and for keys derived from requests. Not for large data:
 * some 200 MB a second. Source: FIPS 180-4, 6.2. */
#ifndef SONDE_WIRE_SHA256_H
#define SONDE_WIRE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SONDE__SHA256_SIZE 32u

/* size: bytes so far; block: the last of them that fill none. */
struct sonde__sha256 {
    uint32_t state[8];
    uint64_t size;
    uint8_t block[64];
};

void sonde__sha256_init(struct sonde__sha256 *hash);
/** data borrowed, size bytes; may be NULL with 0. */
void sonde__sha256_add(struct sonde__sha256 *hash, const void *data, size_t size);
void sonde__sha256_finish(struct sonde__sha256 *hash, uint8_t ret_digest[SONDE__SHA256_SIZE]);
/** Of all at once. */
void sonde__sha256(const void *data, size_t size, uint8_t ret_digest[SONDE__SHA256_SIZE]);

#endif
