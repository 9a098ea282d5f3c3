/* SPDX-License-Identifier: Apache-2.0 */
/* What deduplicator and saga take from the idempotency keys. */
#ifndef SONDE_RESILIENCE_IDEMPOTENCY_INTERNAL_H
#define SONDE_RESILIENCE_IDEMPOTENCY_INTERNAL_H

#include <sonde/attribute.h>

/** The texts of results, SONDE_IDEMPOTENCY_RESULT_COUNT of them; static. */
const char *const *sonde__idempotency_texts(void);

/** A key as telemetry shows it: hex digits of the beginning of its SHA-256. No NUL. */
#define SONDE__KEY_HASH_SIZE 16u
void sonde__idempotency_key_hash(struct sonde_string key, char ret_text[SONDE__KEY_HASH_SIZE]);

/** Two lower-case digits a byte; no NUL. */
void sonde__hex_write(const uint8_t *bytes, size_t size, char *ret_text);

#endif
