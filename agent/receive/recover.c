/* SPDX-License-Identifier: Apache-2.0 */
/* Open spans of a dead process: the request that was running when it died.
 *
 * A slot counts when its state is OPEN and its record is not in a ring: commit_position is 0, or beyond the last head
 * of the ring it names (layout.h). A rewrite that was going on is finished. The bytes are copied and then checked: of a
 * body that is no span (nobody's but a liar's) the longest prefix of whole fields is kept. Then the end is set and the
 * reason added:
 *
 *   killed, or nobody knows how   status ERROR, sonde.crashed=true, sonde.crash.signal where the kernel tells
 *   ended cleanly, or exec        sonde.unfinished=true, no error
 *   asked to end, but was busy    its own end time and nothing else */
#include "agent/log.h"
#include "agent/receive/services.h"
#include "instrumentation/wire/read.h"
#include "instrumentation/wire/validate.h"
#include "instrumentation/wire/writer.h"
#include <sonde/trace.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FIELD_ATTRIBUTE = 9, FIELD_ATTRIBUTES_DROPPED = 10, FIELD_EVENTS_DROPPED = 12, FIELD_LINKS_DROPPED = 14 };
enum { FIELD_END = 8, FIELD_STATUS = 15, STATUS_MESSAGE = 2, STATUS_CODE = 3 };
#define STREAM_SIZE_MAX (SONDE__SLOT_BODY + SONDE__SLOT_EXTENTS * SONDE__EXTENT_SIZE)
#define ADDED_SIZE_MAX  512u /* attributes, status and counts below */

/* Room for a region's slots and for one span, out of the chunk that drained rings no longer need. */
_Static_assert(SONDE__SLOTS_SIZE + STREAM_SIZE_MAX + ADDED_SIZE_MAX <= SONDE__RING_CHUNK_SIZE, "recovery buffers");

static bool is_committed(const struct sonde__peer *peer, const struct sonde__slot *slot) {
    uint64_t position = atomic_load_explicit(&slot->commit_position, memory_order_relaxed);
    if (position == 0)
        return false;
    uint32_t memory = slot->commit_region / SONDE__REGIONS_PER_MEMORY;
    uint32_t region = slot->commit_region % SONDE__REGIONS_PER_MEMORY;
    if (memory >= SONDE__THREAD_MEMORIES_MAX || !peer->threads[memory] || !peer->threads[memory]->rings[region].in_use)
        return false;
    return position <= peer->threads[memory]->rings[region].reader.read; /* which stands at the last head */
}

/* Closes the gap of a field that was being taken out (layout.h). Returns what is left. */
static size_t edit_finish(uint64_t edit, uint8_t *body, size_t size) {
    size_t at = SONDE__EDIT_AT(edit), end = at + SONDE__EDIT_SIZE(edit);
    if (at >= size)
        return size;
    if (end >= size)
        return at;
    memmove(body + at, body + end, size - end);
    return size - (end - at);
}

/* The body: its part in the slot, then extents. Stops where an extent is missing. Returns the size copied. */
static size_t body_copy(const struct sonde__peer *peer, const struct sonde__slot *slot, uint8_t *to) {
    uint64_t edit = atomic_load_explicit(&slot->edit, memory_order_relaxed);
    size_t length = edit ? SONDE__EDIT_LENGTH(edit) : atomic_load_explicit(&slot->length, memory_order_relaxed);
    if (length > STREAM_SIZE_MAX)
        length = STREAM_SIZE_MAX;
    size_t size = length < SONDE__SLOT_BODY ? length : SONDE__SLOT_BODY;
    memcpy(to, slot->body, size);
    for (unsigned i = 0; size < length; i++) {
        size_t part = length - size < SONDE__EXTENT_SIZE ? length - size : SONDE__EXTENT_SIZE;
        uint32_t extent = slot->extents[i];
        if (extent == 0 || extent > SONDE__EXTENTS || !peer->process)
            break;
        off_t at = (off_t)(SONDE__EXTENTS_AT + (extent - 1u) * (uint64_t)SONDE__EXTENT_SIZE);
        if (pread(peer->process->fd, to + size, part, at) != (ssize_t)part)
            break;
        size += part;
    }
    return edit_finish(edit, to, size);
}

static uint64_t start_of(const uint8_t *body, size_t size) {
    return size >= SONDE__BODY_ROOT && body[SONDE__BODY_START - 1] == 0x39 ? sonde__load64(body + SONDE__BODY_START)
                                                                           : 0;
}

static void write_end_time(struct sonde__writer *w, uint64_t end_unix_ns) {
    size_t size = sonde__writer_size(w);
    uint64_t start = start_of(w->start, size);
    uint64_t end = end_unix_ns > start ? end_unix_ns : start;
    if (start && w->start[SONDE__BODY_END - 1] == 0x41)
        memcpy(w->start + SONDE__BODY_END, &end, sizeof end);
    else
        sonde__write_fixed64(w, FIELD_END, end); /* the last one counts */
}

static void write_dropped(struct sonde__writer *w, const struct sonde__slot *slot) {
    if (slot->attributes_dropped)
        sonde__write_uint(w, FIELD_ATTRIBUTES_DROPPED, slot->attributes_dropped);
    if (slot->events_dropped)
        sonde__write_uint(w, FIELD_EVENTS_DROPPED, slot->events_dropped);
    if (slot->links_dropped)
        sonde__write_uint(w, FIELD_LINKS_DROPPED, slot->links_dropped);
}

static void write_flag(struct sonde__writer *w, struct sonde_key key) {
    struct sonde_attribute attribute = {.key = key, .type = SONDE_VALUE_BOOL, .value.boolean = true};
    sonde__write_attribute(w, FIELD_ATTRIBUTE, &attribute, SIZE_MAX);
}

static void write_crash(struct sonde__writer *w, struct sonde__exit how) {
    char name[32], text[64] = "process died";
    write_flag(w, SONDE_KEY("sonde.crashed"));
    if (how.kind == SONDE__EXIT_SIGNAL) {
        const char *known = sonde__signal_name(how.code);
        snprintf(name, sizeof name, known ? "%s" : "SIG%.0s%d", known ? known : "", how.code);
        struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("sonde.crash.signal"), name);
        sonde__write_attribute(w, FIELD_ATTRIBUTE, &attribute, SIZE_MAX);
        snprintf(text, sizeof text, "process killed by %s", name);
    }
    /* Messages that come twice are merged, the last value counts: an OK that was set before becomes ERROR. */
    uint8_t *begin = sonde__write_begin(w, FIELD_STATUS);
    sonde__write_string(w, STATUS_MESSAGE, text, strlen(text), SIZE_MAX);
    sonde__write_uint(w, STATUS_CODE, SONDE_STATUS_ERROR);
    sonde__write_end(w, begin);
}

/* Writes the finished span behind `buffer`. Returns its size, 0 when nothing of it can be kept. */
static size_t span_finish(struct sonde__peer *peer, const struct sonde__slot *slot, struct sonde__exit how,
                          uint8_t *buffer) {
    size_t size = body_copy(peer, slot, buffer);
    if (!sonde__span_is_valid(buffer, size)) {
        size = sonde__span_valid_prefix(buffer, size);
        peer->recovered_cut++;
    }
    if (size == 0)
        return 0;
    struct sonde__writer w;
    sonde__writer_init(&w, buffer, STREAM_SIZE_MAX + ADDED_SIZE_MAX);
    w.at += size;
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    bool ended = generation != 0 && atomic_load_explicit(&slot->end_wanted, memory_order_relaxed) == generation;
    write_end_time(&w, ended ? atomic_load_explicit(&slot->end_wanted_ns, memory_order_relaxed) : peer->dead_unix_ns);
    write_dropped(&w, slot);
    if (!ended && how.kind == SONDE__EXIT_CLEAN)
        write_flag(&w, SONDE_KEY("sonde.unfinished"));
    else if (!ended)
        write_crash(&w, how);
    size = sonde__writer_size(&w);
    return !w.full && size <= SONDE__RECORD_BODY_MAX && sonde__span_is_valid(buffer, size) ? size : 0;
}

/* A region's open spans from slot `first` on. Returns false when the queue is full: peer->recover_at says where to go
 * on. */
static bool region_recover(struct sonde__peer *peer, const struct sonde__peer_memory *memory, uint32_t region,
                           uint32_t first) {
    struct sonde__services *services = peer->services;
    uint8_t *slots = services->chunk, *buffer = services->chunk + SONDE__SLOTS_SIZE;
    off_t at = (off_t)(SONDE__SLOTS_AT + region * SONDE__SLOTS_SIZE);
    if (pread(memory->fd, slots, SONDE__SLOTS_SIZE, at) != (ssize_t)SONDE__SLOTS_SIZE)
        return true;
    for (uint32_t i = first; i < SONDE__SLOTS; i++) {
        const struct sonde__slot *slot = (const void *)(slots + i * SONDE__SLOT_SIZE);
        if (atomic_load_explicit(&slot->state, memory_order_relaxed) != SONDE__SLOT_OPEN || is_committed(peer, slot))
            continue;
        if (services->batch.size + SONDE__RECORD_BODY_MAX + 16 > SONDE_QUEUE_RECORD_SIZE_MAX &&
            sonde__intake_flush(services) != 0) {
            peer->recover_at = (memory->index * SONDE__REGIONS_PER_MEMORY + region) * SONDE__SLOTS + i;
            return false;
        }
        size_t size = span_finish(peer, slot, peer->how, buffer);
        if (size == 0) {
            sonde_ledger_dropped(services->env.ledger, SONDE_SIGNAL_TRACES, SONDE_INTAKE_INVALID, 1);
            continue;
        }
        sonde__peer_take(peer, &(struct sonde__ring_record){.body = buffer,
                                                            .size = (uint32_t)size,
                                                            .kind = SONDE__RECORD_SPAN,
                                                            .scope = slot->scope,
                                                            .may_be_own = true});
        peer->recovered++;
    }
    return true;
}

bool sonde__peer_recover(struct sonde__peer *peer) {
    const uint32_t regions = SONDE__THREAD_MEMORIES_MAX * SONDE__REGIONS_PER_MEMORY;
    if (!peer->services->chunk)
        return true; /* no memory was ever drained: out of memory ourselves */
    uint32_t first = peer->recover_at % SONDE__SLOTS;
    for (uint32_t i = peer->recover_at / SONDE__SLOTS; i < regions; i++, first = 0) {
        const struct sonde__peer_memory *memory = peer->threads[i / SONDE__REGIONS_PER_MEMORY];
        uint32_t region = i % SONDE__REGIONS_PER_MEMORY;
        if (memory && memory->rings[region].in_use && !region_recover(peer, memory, region, first))
            return false;
    }
    if (peer->recovered)
        sonde_agent_log(SONDE_LOG_INFO, "A service ended with open spans, closing them",
                        "service=%s pid=%u spans=%llu cut=%llu signal=%d", sonde_agent_log_quote(peer->service_name),
                        peer->pid, (unsigned long long)peer->recovered, (unsigned long long)peer->recovered_cut,
                        peer->how.kind == SONDE__EXIT_SIGNAL ? peer->how.code : 0);
    return true;
}
