/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency: keys that tell a repeated request from a new one, what became of them in telemetry, and a deduplicator.
 *
 *   struct sonde_dedup_ticket ticket;                     // consumer of messages; `dedup` made once at the start
 *   switch (sonde_dedup_begin(dedup, sonde_text(message_id), 0, &ticket)) {
 *   case SONDE_IDEMPOTENCY_FIRST:
 *       process(message) ? sonde_dedup_done(&ticket) : sonde_dedup_forget(&ticket);
 *       break;
 *   case SONDE_IDEMPOTENCY_IN_FLIGHT:                     // another thread is at it: give the message back for later
 *   ...
 *   }
 *
 * A deduplicator remembers the last so many ids for a while, in this process: it takes the repetitions of a broker that
 * delivers at least once, and is no substitute for a database's unique key where a repetition must never pass.
 * Keys may hold personal data: telemetry has only the first 16 hex digits of their SHA-256.
 *   spans     sonde.idempotency.key (hashed), sonde.idempotency.result
 *   counters  sonde.idempotency.request by sonde.idempotency.result (and sonde.resilience.name of a deduplicator);
 *             sonde.idempotency.evicted: ids a deduplicator forgot before their time, because its capacity is too small
 * Source: draft-ietf-httpapi-idempotency-key-header-06; RFC 9651, 3.3.3 (strings). */
#ifndef SONDE_RESILIENCE_IDEMPOTENCY_H
#define SONDE_RESILIENCE_IDEMPOTENCY_H

#include <sonde/carrier.h>
#include <sonde/trace.h>

SONDE_BEGIN

enum sonde_idempotency_result {
    SONDE_IDEMPOTENCY_FIRST = 0, /* not seen before: do it */
    SONDE_IDEMPOTENCY_REPLAY,    /* done already: answer as then */
    SONDE_IDEMPOTENCY_CONFLICT,  /* the key was used for another request (HTTP: 422) */
    SONDE_IDEMPOTENCY_IN_FLIGHT, /* somebody is at it: later (HTTP: 409) */
    SONDE_IDEMPOTENCY_RESULT_COUNT,
};

/* ---- keys ---- */

#define SONDE_IDEMPOTENCY_KEY_SIZE_MAX 255u
/** A key, a value: 1..255 characters of printable ASCII and a NUL. size 0 = none. */
struct sonde_idempotency_key {
    uint8_t size;
    char text[SONDE_IDEMPOTENCY_KEY_SIZE_MAX + 1u];
};

/** A new random key, as a UUID (version 4). Any thread. A system call. */
SONDE_API void sonde_idempotency_key_make(struct sonde_idempotency_key *ret_key);
/** The key of a request that repeats itself: the same parts in the same order give the same 32 hex digits (of their
 *  SHA-256, sizes included, so that "ab","c" is not "a","bc"). parts borrowed. Any thread, never blocks. */
SONDE_API void sonde_idempotency_key_derive(const struct sonde_string *parts, size_t count,
                                            struct sonde_idempotency_key *ret_key);

/** How a key stands in a carrier, always by the name `idempotency-key` (HTTP: Idempotency-Key). */
enum sonde_idempotency_form {
    SONDE_IDEMPOTENCY_HTTP = 0, /* in quotes, as a string of structured fields */
    SONDE_IDEMPOTENCY_MESSAGE,  /* bare, as an attribute or header of a message */
};
/** Writes a key, instead of one that is there.
 *  Returns 0, SONDE_EINVALID (no key, or the carrier cannot), or the carrier's error. */
SONDE_API int sonde_idempotency_key_write(const struct sonde_idempotency_key *key, enum sonde_idempotency_form form,
                                          const struct sonde_carrier *carrier);
/** Reads a key, in either form; parameters behind a quoted one are passed over.
 *  ret_key  always written: the key, or none.
 *  Returns 0, SONDE_ENOTFOUND, SONDE_EMALFORMED (no key, or several that differ), SONDE_ETOOBIG. */
SONDE_API int sonde_idempotency_key_read(const struct sonde_carrier *carrier, struct sonde_idempotency_key *ret_key);

/** What tells a replay from a conflict: a number of the request's payload (the first 64 bits of its SHA-256), the same
 *  in every process; never 0. */
SONDE_API uint64_t sonde_idempotency_fingerprint(const void *payload, size_t size);

/** Puts the key, hashed, and the result on a span. span borrowed. */
SONDE_API void sonde_idempotency_describe(struct sonde_span *span, struct sonde_string key,
                                          enum sonde_idempotency_result result);
/** The same, and counts it: for services whose keys lie in a store of their own. (A deduplicator counts by itself.)
 *  span  NULL = counted only. */
SONDE_API void sonde_idempotency_record(struct sonde_span *span, struct sonde_string key,
                                        enum sonde_idempotency_result result);

/* ---- a deduplicator ---- */

/** A handle, by value. index 0 = none: everything is FIRST. */
struct sonde_dedup {
    uint32_t index;
};

/** Set up with SONDE_DEDUP_OPTIONS_INIT; a zero means the default in brackets.
 *  name          1..127 bytes of UTF-8, NUL-terminated: label of its series.
 *  capacity      ids that are remembered [100,000]; up to 2^24. Takes 64 bytes for each, once. About one of 5000 has to
 *                go before there are so many, because there is no room where it belongs. Of those done the oldest goes
 *                first; one in flight only after all that are done.
 *  ttl_ns        that a done one is remembered [10 min].
 *  in_flight_ns  after which one that was never done nor forgotten may be begun again [1 min].
 *  clock         NULL, or monotonic ns (for tests).    user  of it; kept. */
struct sonde_dedup_options {
    size_t size;
    const char *name;
    uint32_t capacity;
    uint64_t ttl_ns, in_flight_ns;
    uint64_t (*clock)(void *user);
    void *user;
};
#ifdef __cplusplus
#define SONDE_DEDUP_OPTIONS_INIT                                                                                       \
    { sizeof(struct sonde_dedup_options), nullptr, 0, 0, 0, nullptr, nullptr }
#else
#define SONDE_DEDUP_OPTIONS_INIT                                                                                       \
    { .size = sizeof(struct sonde_dedup_options) }
#endif

/** Makes a deduplicator, or finds the one of that name (whose options stay). A forked child has its own, empty at first.
 *  Returns 0, SONDE_EINVALID, SONDE_EFULL (SONDE_DEDUPS_MAX), -ENOMEM. Takes a lock: once, not per message. */
SONDE_API int sonde_dedup_create(const struct sonde_dedup_options *options, struct sonde_dedup *ret_dedup);

/** What a FIRST gives; a value, for any thread. A stale one is harmless; all zero = none. */
struct sonde_dedup_ticket {
    struct sonde_dedup dedup;
    uint32_t line, slot, claim;
};

/* Hot path: any thread, no lock but a bit that is held for some ten instructions, no allocation, the coarse clock. */

/** Begins with a message or request.
 *  id           any bytes; only a keyed hash of 64 bits and its place is kept, so that nobody outside can choose ids that
 *               fall together, and two ids are taken for one once in some 10^18.
 *  fingerprint  of the payload (its low 32 bits are kept), 0 = none: a known id with another one is a CONFLICT.
 *  ret_ticket   always written; of a FIRST, which done or forget must follow; else none.
 *  Returns IN_FLIGHT also when a thread was stopped while it held the bit for longer than some 100 us. */
SONDE_API_HOT enum sonde_idempotency_result sonde_dedup_begin(struct sonde_dedup dedup, struct sonde_string id,
                                                              uint64_t fingerprint,
                                                              struct sonde_dedup_ticket *ret_ticket);
/** It is done: repetitions are REPLAY for ttl_ns. Returns false when the id is not the ticket's any more: done, or
 *  begun again by another after in_flight_ns, or it had to go. */
SONDE_API_HOT bool sonde_dedup_done(const struct sonde_dedup_ticket *ticket);
/** It failed: the next one with this id is FIRST. Returns as done. */
SONDE_API_HOT bool sonde_dedup_forget(const struct sonde_dedup_ticket *ticket);

SONDE_END

#endif
