/* SPDX-License-Identifier: Apache-2.0 */
/* Rings -> batch -> queue, and the tails that follow.
 *
 * A turn reads at most one chunk per ring and a budget per peer, so no producer can hold the loop. It is read into the
 * batch, and framed where it lies; the batch goes to the queue at the end of the peer's turn (or when it is full), and
 * each ring that took part gets a mark: "tail may move to here when the queue has released that sequence". When the
 * queue is full, the batch is kept and nothing more is read from anyone: records then wait in their rings, which is
 * where their producers count what does not fit. */
#include "agent/log.h"
#include "agent/receive/services.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

#define TURN_SIZE_MAX (4u << 20) /* bytes of one peer in one turn: about 1 ms of work */

static enum sonde_signal signal_of(unsigned kind) {
    return kind == SONDE__RECORD_LOG ? SONDE_SIGNAL_LOGS : SONDE_SIGNAL_TRACES;
}

void sonde__ring_unmark(struct sonde__ring *ring) {
    ring->mark_first = ring->mark_count = 0;
    ring->marked = ring->reader.read;
    ring->count = 0;
}

static void mark_push(struct sonde__ring *ring, uint64_t sequence) {
    if (ring->mark_count == SONDE__MARKS_MAX) {
        struct sonde__mark *last = &ring->marks[(ring->mark_first + ring->mark_count - 1) % SONDE__MARKS_MAX];
        *last = (struct sonde__mark){sequence, ring->reader.read, last->count + ring->count};
    } else {
        uint32_t i = (ring->mark_first + ring->mark_count++) % SONDE__MARKS_MAX;
        ring->marks[i] = (struct sonde__mark){sequence, ring->reader.read, ring->count};
    }
    ring->marked = ring->reader.read;
    ring->count = 0;
}

/* Lets the ring's producer overwrite what the queue has released, all of it when half of the ring is held. */
static void ring_release(struct sonde__services *services, struct sonde__ring *ring) {
    uint64_t released = sonde_queue_released(services->env.queue);
    bool no_exporter = sonde_queue_cursor_count(services->env.queue) == 0;
    uint64_t position = 0;
    bool early = ring->marked - ring->reader.tail >= ring->reader.size / 2;
    while (ring->mark_count > 0) {
        const struct sonde__mark *mark = &ring->marks[ring->mark_first];
        bool done = no_exporter || mark->sequence <= released;
        if (!done && !early)
            break;
        if (!done)
            services->env.ledger->early_released += mark->count;
        position = mark->position;
        ring->mark_first = (ring->mark_first + 1) % SONDE__MARKS_MAX;
        ring->mark_count--;
    }
    if (ring->mark_count == 0)
        position = ring->marked; /* a rewind may have moved it past the last record */
    sonde__ring_release(&ring->reader, position);
}

static void each_ring(struct sonde__peer *peer, void (*visit)(struct sonde__services *, struct sonde__ring *)) {
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++) {
        struct sonde__peer_memory *memory = peer->threads[i];
        for (uint32_t r = 0; memory && r < SONDE__REGIONS_PER_MEMORY; r++) {
            if (memory->rings[r].in_use)
                visit(peer->services, &memory->rings[r]);
        }
    }
}

void sonde__peer_release(struct sonde__peer *peer) {
    each_ring(peer, ring_release);
}

/* After the batch went in: what each ring gave is covered by its last sequence. */
static void ring_mark(struct sonde__services *services, struct sonde__ring *ring) {
    if (ring->reader.read == ring->marked)
        return;
    if (ring->count > 0)
        mark_push(ring, services->batch.sequence);
    else if (ring->mark_count == 0)
        ring->marked = ring->reader.read; /* nothing but bad records, or a rewind */
    else
        return;
    ring_release(services, ring);
}

int sonde__intake_flush(struct sonde__services *services) {
    struct sonde__intake *batch = &services->batch;
    struct sonde__peer *peer = services->batch_peer;
    for (uint32_t i = 0; i < batch->run_count; i++) {
        struct sonde__run *run = &batch->runs[i];
        if (run->appended || run->count == 0)
            continue;
        uint64_t sequence;
        int result =
            sonde_queue_append(services->env.queue, (enum sonde_signal)run->signal, peer->resource_id, run->scope_id,
                               run->count, (struct sonde_bytes){run->data, run->size}, &sequence);
        if (result == SONDE_EFULL || result == -ENOMEM) {
            services->blocked = true;
            return SONDE_EFULL;
        }
        run->appended = true;
        if (result != 0) { /* our own mistake; it must not hold the others up */
            sonde_agent_log(SONDE_LOG_ERROR, "The queue refused records, dropping them", "error=\"%s\" records=%u",
                            sonde_strerror(result), run->count);
            sonde_ledger_dropped(services->env.ledger, (enum sonde_signal)run->signal, SONDE_INTAKE_INVALID,
                                 run->count);
            continue;
        }
        sonde_ledger_appended(services->env.ledger, (enum sonde_signal)run->signal, run->count);
        peer->records[run->signal] += run->count;
        batch->sequence = sequence;
    }
    services->blocked = false;
    if (peer)
        each_ring(peer, ring_mark);
    sonde__intake_reset(batch);
    services->batch_peer = NULL;
    return 0;
}

void sonde__peer_take(struct sonde__peer *peer, const struct sonde__ring_record *record) {
    struct sonde__services *services = peer->services;
    services->batch_peer = peer;
    enum sonde_signal signal = signal_of(record->kind);
    if (record->may_be_own) /* before it is moved */
        sonde_processing_record(services->env.processing, signal, (struct sonde_bytes){record->body, record->size});
    if (sonde__intake_add(&services->batch, signal, sonde__peer_scope(peer, record->scope), record->body,
                          record->size) != 0)
        sonde_ledger_dropped(services->env.ledger, signal, SONDE_INTAKE_NO_MEMORY, 1);
}

/* The records of a chunk. Returns false when the rest of the ring was given up. */
static bool chunk_take(struct sonde__peer *peer, struct sonde__ring *ring, struct sonde__ring_chunk *chunk) {
    struct sonde__ring_record record;
    for (;;) {
        switch (sonde__ring_next(chunk, &record)) {
        case SONDE__RING_RECORD:
            sonde__peer_take(peer, &record);
            ring->count++;
            break;
        case SONDE__RING_BAD_RECORD:
            sonde_ledger_dropped(peer->services->env.ledger, signal_of(record.kind), SONDE_INTAKE_INVALID, 1);
            sonde__peer_violation(peer, "a record that is not the message it claims to be");
            break;
        case SONDE__RING_LOST:
            sonde_ledger_dropped(peer->services->env.ledger, SONDE_SIGNAL_TRACES, SONDE_INTAKE_INVALID, 1);
            sonde__peer_violation(peer, "a record length that cannot be");
            return false;
        case SONDE__RING_END:
            return true;
        }
    }
}

/* What a dead peer's open spans are closed in, kept ready while there are peers. */
static bool chunk_buffer(struct sonde__services *services) {
    if (!services->chunk)
        services->chunk = sonde_alloc_new(&services->env.seams->alloc, SONDE__RING_CHUNK_SIZE);
    return services->chunk != NULL;
}

static bool has_share(struct sonde__peer *peer) {
    const struct sonde__services *services = peer->services;
    peer->held_back = peer->state == SONDE__PEER_ALIVE &&
                      !sonde_queue_has_share(services->env.queue, peer->resource_id, services->peer_count);
    return !peer->held_back;
}

/* One chunk of one ring. Returns the bytes that were read. */
static size_t ring_drain(struct sonde__peer *peer, struct sonde__ring *ring) {
    struct sonde__services *services = peer->services;
    if (services->batch.size + SONDE__INTAKE_ROOM_SIZE > SONDE__INTAKE_SIZE && sonde__intake_flush(services) != 0)
        return 0;
    if (!has_share(peer))
        return 0;
    uint8_t *room = sonde__intake_room(&services->batch, SONDE__INTAKE_ROOM_SIZE);
    if (!room)
        return 0; /* out of memory: next turn */
    struct sonde__ring_chunk chunk;
    services->batch_peer = peer;
    int result = sonde__ring_fetch(&ring->reader, room, SONDE__INTAKE_ROOM_SIZE, &chunk);
    if (result == SONDE_EMALFORMED) {
        sonde_ledger_dropped(services->env.ledger, SONDE_SIGNAL_TRACES, SONDE_INTAKE_INVALID, 1);
        sonde__peer_violation(peer, "ring positions that cannot be");
        sonde__ring_unmark(ring);
        return 0;
    }
    if (result != 0) {
        sonde__peer_violation(peer, "ring bytes that cannot be read");
        return 0;
    }
    if (chunk.from != ring->marked && ring->mark_count == 0 && ring->count == 0) { /* the empty ring was rewound */
        sonde__ring_release(&ring->reader, chunk.from);
        ring->marked = chunk.from;
    }
    (void)chunk_take(peer, ring, &chunk); /* what was given up is passed over like the rest */
    sonde__ring_advance(&ring->reader, &chunk);
    return chunk.size;
}

/* All rings of a memory, one chunk each. */
static size_t memory_drain(struct sonde__peer *peer, struct sonde__peer_memory *memory) {
    size_t size = 0;
    for (uint32_t r = 0; r < SONDE__REGIONS_PER_MEMORY && !peer->violated && !peer->services->blocked; r++) {
        struct sonde__ring *ring = &memory->rings[r];
        if (ring->in_use)
            size += ring_drain(peer, ring);
    }
    return size;
}

bool sonde__peer_drain(struct sonde__peer *peer) {
    struct sonde__services *services = peer->services;
    if (services->stopped || services->blocked || !chunk_buffer(services))
        return false;
    size_t size = 0;
    uint32_t first = peer->next_memory;
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX && !peer->violated && !services->blocked; i++) {
        uint32_t number = (first + i) % SONDE__THREAD_MEMORIES_MAX;
        if (!peer->threads[number])
            continue;
        if (size >= TURN_SIZE_MAX)
            break;
        size += memory_drain(peer, peer->threads[number]);
        peer->next_memory = number + 1;
    }
    if (services->batch_peer == peer && !services->blocked)
        (void)sonde__intake_flush(services); /* full: services->blocked says so */
    return size >= SONDE__INTAKE_ROOM_SIZE;
}

static void ring_aim(struct sonde__services *services, struct sonde__ring *ring) {
    (void)services;
    ring->flush_at = ring->reader.read + sonde__ring_pending(&ring->reader);
}

void sonde__peer_aim(struct sonde__peer *peer) {
    sonde__peer_scan(peer, true);
    each_ring(peer, ring_aim);
}

bool sonde__peer_reached(const struct sonde__peer *peer) {
    if (peer->services->blocked && peer->services->batch_peer == peer)
        return false;
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++) {
        const struct sonde__peer_memory *memory = peer->threads[i];
        for (uint32_t r = 0; memory && r < SONDE__REGIONS_PER_MEMORY; r++) {
            if (memory->rings[r].in_use && memory->rings[r].reader.read < memory->rings[r].flush_at)
                return false;
        }
    }
    return true;
}

void sonde__peer_drain_all(struct sonde__peer *peer) {
    sonde__peer_aim(peer);
    /* A ring's bytes at most are ahead, a chunk a round (less what a cut record leaves): the bound is generous. */
    for (unsigned round = 0; round < 4096 && !peer->services->blocked && !peer->violated; round++) {
        (void)sonde__peer_drain(peer);
        if (peer->held_back || sonde__peer_reached(peer))
            break;
    }
}

/* The records of one ring, up to *budget bytes; bodies are not looked at. */
static void ring_count_left(struct sonde__peer *peer, struct sonde__ring *ring, size_t *budget) {
    struct sonde__services *services = peer->services;
    struct sonde__ring_chunk chunk = {0};
    do {
        uint8_t *room = sonde__intake_room(&services->batch, SONDE__INTAKE_ROOM_SIZE);
        if (!room || sonde__ring_fetch(&ring->reader, room, SONDE__INTAKE_ROOM_SIZE, &chunk) != 0)
            return;
        struct sonde__ring_record record;
        for (;;) {
            enum sonde__ring_step step = sonde__ring_next(&chunk, &record);
            if (step == SONDE__RING_LOST)
                return;
            if (step == SONDE__RING_END)
                break;
            sonde_ledger_dropped(services->env.ledger, signal_of(record.kind), SONDE_INTAKE_EVICTED, 1);
        }
        sonde__ring_advance(&ring->reader, &chunk);
        *budget -= chunk.size < *budget ? chunk.size : *budget;
    } while (chunk.size > 0 && *budget > 0);
}

void sonde__peer_count_left(struct sonde__peer *peer) {
    size_t budget = TURN_SIZE_MAX;
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++) {
        struct sonde__peer_memory *memory = peer->threads[i];
        for (uint32_t r = 0; memory && r < SONDE__REGIONS_PER_MEMORY && budget > 0; r++) {
            if (memory->rings[r].in_use)
                ring_count_left(peer, &memory->rings[r], &budget);
        }
    }
}
