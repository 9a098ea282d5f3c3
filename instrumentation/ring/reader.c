/* SPDX-License-Identifier: Apache-2.0 */
/* See reader.h. Memory order: head is loaded with acquire and before base, as layout.h says; the bytes below head
 * are then visible to pread, which is a system call and reads the same pages. tail is stored with release: the producer
 * that sees it must not overtake our reads. */
#include "instrumentation/ring/reader.h"
#include "instrumentation/wire/validate.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <string.h>
#include <unistd.h>

/* A run of pages worth the system call that returns them, and the page faults that bring them back. */
#define PUNCH_SIZE_MIN (64u << 10)
/* One call drops one record in some 10 ns: nobody drops this many between two looks (100 ms apart at most, but an
 * agent that was away for hours starts from `taken`: hours of it, by many threads). */
#define DROPS_JUMP_MAX (UINT64_C(1) << 44)

int sonde__ring_reader_init(struct sonde__ring_reader *reader, struct sonde__region *region, int fd, uint64_t at,
                            uint64_t size) {
    uint64_t head = atomic_load_explicit(&region->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&region->tail, memory_order_acquire);
    uint64_t base = atomic_load_explicit(&region->base, memory_order_acquire);
    *reader =
        (struct sonde__ring_reader){.region = region, .fd = fd, .at = at, .size = size, .read = tail, .tail = tail};
    uint64_t start = base > tail && base <= head ? base : tail;
    if (tail % 8 == 0 && start <= head && head - start <= size)
        return 0;
    reader->read = reader->tail = head & ~UINT64_C(7);
    return SONDE_EMALFORMED;
}

/* Where data starts and ends now. Returns false when they lie. */
static bool positions(const struct sonde__ring_reader *reader, uint64_t *ret_start, uint64_t *ret_head) {
    uint64_t head = atomic_load_explicit(&reader->region->head, memory_order_acquire);
    uint64_t base = atomic_load_explicit(&reader->region->base, memory_order_acquire);
    uint64_t start = reader->read;
    *ret_head = head;
    if (base > start) {
        /* The ring was empty at `read` and went on at base; base may be newer than the head we saw. */
        if (base > head && base - start <= reader->size && head == start)
            base = start;
        start = base;
    }
    *ret_start = start;
    return start <= head && head - start <= reader->size && head % 8 == 0 && start % 8 == 0;
}

uint64_t sonde__ring_pending(const struct sonde__ring_reader *reader) {
    uint64_t start, head;
    return positions(reader, &start, &head) ? head - start : 0;
}

static int read_at(const struct sonde__ring_reader *reader, uint64_t position, uint8_t *buffer, size_t size) {
    while (size > 0) {
        uint64_t offset = position & (reader->size - 1);
        size_t part = reader->size - offset < size ? (size_t)(reader->size - offset) : size;
        ssize_t got = pread(reader->fd, buffer, part, (off_t)(reader->at + offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        position += (uint64_t)got;
        buffer += got;
        size -= (size_t)got;
    }
    return 0;
}

int sonde__ring_fetch(struct sonde__ring_reader *reader, uint8_t *buffer, size_t buffer_size,
                      struct sonde__ring_chunk *ret_chunk) {
    uint64_t start, head;
    *ret_chunk = (struct sonde__ring_chunk){.data = buffer};
    if (!positions(reader, &start, &head)) {
        head &= ~UINT64_C(7);
        ret_chunk->from = ret_chunk->head = reader->read = head;
        return SONDE_EMALFORMED;
    }
    ret_chunk->from = reader->read = start;
    ret_chunk->head = head;
    size_t size = head - start < buffer_size ? (size_t)(head - start) : buffer_size;
    int result = read_at(reader, start, buffer, size);
    if (result == 0)
        ret_chunk->size = size;
    return result;
}

static unsigned body_look(const struct sonde__ring_record *record) {
    switch (record->kind) {
    case SONDE__RECORD_SPAN:
        return sonde__span_look(record->body, record->size);
    case SONDE__RECORD_LOG:
        return sonde__log_look(record->body, record->size);
    default:
        return 0;
    }
}

enum sonde__ring_step sonde__ring_next(struct sonde__ring_chunk *chunk, struct sonde__ring_record *ret_record) {
    size_t left = chunk->size - chunk->at;
    if (left == 0)
        return SONDE__RING_END;
    struct sonde__record header; /* positions are multiples of 8, so a header is never cut */
    memcpy(&header, chunk->data + chunk->at, sizeof header);
    uint64_t whole = sizeof header + (((uint64_t)header.length + 7) & ~UINT64_C(7));
    uint64_t to_head = chunk->head - chunk->from - chunk->at;
    if (header.length == 0 || header.length > SONDE__RECORD_BODY_MAX || whole > to_head) {
        chunk->at = chunk->size = (size_t)(chunk->head - chunk->from);
        return SONDE__RING_LOST;
    }
    if (whole > left)
        return SONDE__RING_END;
    *ret_record = (struct sonde__ring_record){
        .body = chunk->data + chunk->at + sizeof header,
        .size = header.length,
        .kind = (enum sonde__record_kind)header.kind,
        .flags = header.flags,
        .scope = header.scope,
    };
    chunk->at += (size_t)whole;
    unsigned look = body_look(ret_record);
    ret_record->may_be_own = (look & SONDE__LOOK_OWN) != 0;
    return look ? SONDE__RING_RECORD : SONDE__RING_BAD_RECORD;
}

void sonde__ring_advance(struct sonde__ring_reader *reader, const struct sonde__ring_chunk *chunk) {
    reader->read = chunk->from + chunk->at;
}

/* Gives back the whole pages of ring positions [from, to), which the producer cannot write to yet: they are behind its
 * tail. Errors leave the pages where they are. */
static void punch(const struct sonde__ring_reader *reader, uint64_t from, uint64_t to) {
    const uint64_t page = SONDE__PAGE;
    from = (from + page - 1) & ~(page - 1);
    to &= ~(page - 1);
    while (from < to) {
        uint64_t offset = from & (reader->size - 1);
        uint64_t part = reader->size - offset < to - from ? reader->size - offset : to - from;
        if (fallocate(reader->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(reader->at + offset),
                      (off_t)part) != 0)
            return;
        from += part;
    }
}

void sonde__ring_release(struct sonde__ring_reader *reader, uint64_t position) {
    if (position <= reader->tail || position > reader->read)
        return;
    /* Only when nothing lies behind: an agent that dies between the hole and the store finds a hole at tail, gives the
     * ring up to head up, and that is nothing that was not delivered. And only from base on: after a rewind the
     * producer counts its room from base, and may be writing where older positions were. */
    if (position == reader->read && position - reader->tail >= PUNCH_SIZE_MIN &&
        atomic_load_explicit(&reader->region->head, memory_order_acquire) == position) {
        uint64_t base = atomic_load_explicit(&reader->region->base, memory_order_acquire);
        uint64_t from = base > reader->tail ? base : reader->tail;
        if (from < position && position - from >= PUNCH_SIZE_MIN && position - from <= reader->size)
            punch(reader, from, position);
    }
    reader->tail = position;
    atomic_store_explicit(&reader->region->tail, position, memory_order_release);
}

int sonde__drops_take(const struct sonde__drops *drops, uint64_t taken[SONDE__SIGNALS][SONDE__DROP_REASONS],
                      uint64_t ret_new[SONDE__SIGNALS][SONDE__DROP_REASONS]) {
    int result = 0;
    for (unsigned i = 0; i < SONDE__SIGNALS; i++) {
        for (unsigned j = 0; j < SONDE__DROP_REASONS; j++) {
            uint64_t now = atomic_load_explicit(&drops->count[i][j], memory_order_relaxed);
            ret_new[i][j] = now - taken[i][j];
            if (now < taken[i][j] || now - taken[i][j] > DROPS_JUMP_MAX) {
                ret_new[i][j] = 0;
                result = SONDE_EMALFORMED;
            } else {
                taken[i][j] = now;
            }
        }
    }
    return result;
}
