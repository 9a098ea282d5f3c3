/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's side of a ring: reading memory that the other side may change, and lie in, at any time.
 *
 *   sonde__ring_fetch()    positions from the control page, checked and copied; bytes by pread into private memory
 *   sonde__ring_next()     walks the private copy, one record at a time, each validated
 *   sonde__ring_advance()  `read` moves: private to the agent
 *   sonde__ring_release()  `tail` moves: the producer may overwrite
 *
 * Only the control page is mapped. Data is read by pread: a hole, a truncated file or a huge page cannot raise SIGBUS,
 * and holes are not filled in on our account. Nothing is read twice: what was checked is what is used. A lie about
 * positions, a length that cannot be, bytes that are not their message: counted by the caller, who evicts. */
#ifndef SONDE_RING_READER_H
#define SONDE_RING_READER_H

#include "instrumentation/ring/layout.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of one fetch at most: the bound of work per ring and turn. Any record fits. */
#define SONDE__RING_CHUNK_SIZE (256u << 10)

struct sonde__ring_reader {
    struct sonde__region *region; /* kept: mapped control page, writable for tail */
    int fd;                       /* kept: the THREADS memfd */
    uint64_t at;                  /* offset of the ring in fd */
    uint64_t size;                /* of the ring, a power of two */
    uint64_t read;                /* what the agent has taken; >= tail */
    uint64_t tail;                /* what was stored last */
};

/** Starts at the tail that the page holds (an agent before us may have moved it).
 *  Returns 0, SONDE_EMALFORMED (tail and head cannot be: the reader starts at head). */
int sonde__ring_reader_init(struct sonde__ring_reader *reader, struct sonde__region *region, int fd, uint64_t at,
                            uint64_t size);

/** Bytes committed and not yet read, 0..size; 0 also when the positions lie. */
uint64_t sonde__ring_pending(const struct sonde__ring_reader *reader);

struct sonde__ring_chunk {
    const uint8_t *data; /* the buffer given */
    size_t size, at;
    uint64_t from; /* ring position of data[0] */
    uint64_t head; /* ring position of the last byte that was committed when fetched */
};
/** Copies up to buffer_size bytes (a multiple of 8, >= SONDE__RECORD_BODY_MAX + 16) of what is committed.
 *  Returns 0 (ret_chunk->size may be 0: nothing there), SONDE_EMALFORMED (positions lie: reading goes on at head),
 *  -errno of pread. */
int sonde__ring_fetch(struct sonde__ring_reader *reader, uint8_t *buffer, size_t buffer_size,
                      struct sonde__ring_chunk *ret_chunk);

struct sonde__ring_record {
    const uint8_t *body; /* in the chunk */
    uint32_t size;
    enum sonde__record_kind kind;
    uint32_t flags, scope;
    bool may_be_own; /* it may bear a name of our own: SONDE__LOOK_OWN */
};
enum sonde__ring_step {
    SONDE__RING_END = 0, /* chunk is used up; a record cut at its end is for the next fetch */
    SONDE__RING_RECORD,
    SONDE__RING_BAD_RECORD, /* length fits, kind unknown or body not valid: passed over; ret_record says what it claimed
                             */
    SONDE__RING_LOST,       /* a length that cannot be: the rest up to head is given up */
};
enum sonde__ring_step sonde__ring_next(struct sonde__ring_chunk *chunk, struct sonde__ring_record *ret_record);

/** All of the chunk that sonde__ring_next() went through is read. */
void sonde__ring_advance(struct sonde__ring_reader *reader, const struct sonde__ring_chunk *chunk);

/** The producer may overwrite what lies below position (tail <= position <= read). Pages of a burst that went by
 *  are given back to the system when the ring is empty after it. */
void sonde__ring_release(struct sonde__ring_reader *reader, uint64_t position);

/** Adds what `drops` says beyond `taken` (the caller's copy) to ret_new, and brings taken up to it.
 *  Returns 0, SONDE_EMALFORMED when a counter went back or jumped by more than can be: it is passed over. */
int sonde__drops_take(const struct sonde__drops *drops, uint64_t taken[SONDE__SIGNALS][SONDE__DROP_REASONS],
                      uint64_t ret_new[SONDE__SIGNALS][SONDE__DROP_REASONS]);

#endif
