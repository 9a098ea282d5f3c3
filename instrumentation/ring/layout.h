/* SPDX-License-Identifier: Apache-2.0 */
/* The byte layout that a service shares with its agent: the one contract between the two.
 *
 * A process makes two kinds of memfd, both sparse, sealed against shrinking, growing and further sealing
 * before they are handed over (SCM_RIGHTS, see link/protocol.h):
 *
 *   PROCESS (one):    | header page | descriptor log | shared cells | shared histograms | extents | exemplars | breakers |
 *   THREADS (1..64):  | header page | 16 control pages | 16 x 64 slots | 16 x cells | 16 x histograms | 16 x ring |
 *
 * A region is what one thread uses of a THREADS memfd: control page, slots, cells, histogram arena, ring.
 * Regions outlive threads: a thread that ends hands its region back and the next one continues it, so ring
 * positions and counter cells are never reset.
 *
 * Producer and agent agree on memory as follows.
 *   ring      one producer thread; 64-bit positions, offset = position & (ring_size - 1). A record is an 8-byte
 *             struct sonde__record and its body, padded to 8. head is stored with release after the bytes.
 *   base      positions below it are void: an empty ring rewinds to its first page by setting base = head = the
 *             next multiple of ring_size. A reader loads head, then base; data starts at max(tail, base).
 *   tail      written by the agent only: what the producer may overwrite.
 *   slot      an open span: header and encoded Span bytes as far as they are known. length is published after
 *             the bytes it covers. commit_position (and commit_region) are stored before the head that covers them, so
 *             a span of a killed process is found exactly once: in the ring if commit_position <= head, else here.
 * All numbers are little-endian hosts' native ones; big-endian is refused at build time.
 * The agent trusts none of it: it copies, then checks (ring/reader.h). */
#ifndef SONDE_RING_LAYOUT_H
#define SONDE_RING_LAYOUT_H

#include <sonde/limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the shared memory layout is little-endian"
#endif

#define SONDE__MAGIC 0x45444E53u /* "SNDE" */
#define SONDE__LAYOUT_MAJOR 1u   /* the agent reads every layout of its major */
#define SONDE__LAYOUT_MINOR 3u   /* 1: steering in the control page; 2, 3: more behind what PROCESS had before */
#define SONDE__LAYOUT_MINOR_EXEMPLARS 2u
#define SONDE__LAYOUT_MINOR_BREAKERS 3u
#define SONDE__PAGE 4096u

enum sonde__memory_kind { SONDE__MEMORY_PROCESS = 1, SONDE__MEMORY_THREADS = 2 };

#define SONDE__REGIONS_PER_MEMORY 16u
#define SONDE__THREAD_MEMORIES_MAX (SONDE_THREADS_MAX / SONDE__REGIONS_PER_MEMORY)
#define SONDE__SLOT_SIZE 2048u
#define SONDE__SLOTS SONDE_SPAN_SLOTS_PER_THREAD
#define SONDE__SLOTS_SIZE (SONDE__SLOTS * SONDE__SLOT_SIZE)
#define SONDE__REGION_CELLS_SIZE (SONDE_SERIES_MAX * 8u)
#define SONDE__REGION_HISTOGRAMS_SIZE (256u << 10)
#define SONDE__RING_SIZE (1u << 20)
#define SONDE__EXTENT_SIZE 4096u
#define SONDE__EXTENTS 1024u
#define SONDE__SLOT_EXTENTS 16u /* 16 x 4 KiB past the slot itself: SONDE_SPAN_SIZE_MAX and a little */
#define SONDE__SLACK 64u        /* block copies may write this far past a record; never published */

/* THREADS memfd: offsets of the arrays; element i of each belongs to region i. */
#define SONDE__CONTROL_AT SONDE__PAGE
#define SONDE__SLOTS_AT (128u << 10)
#define SONDE__CELLS_AT (SONDE__SLOTS_AT + SONDE__REGIONS_PER_MEMORY * SONDE__SLOTS_SIZE)
#define SONDE__HISTOGRAMS_AT (SONDE__CELLS_AT + SONDE__REGIONS_PER_MEMORY * SONDE__REGION_CELLS_SIZE)
#define SONDE__RINGS_AT (SONDE__HISTOGRAMS_AT + SONDE__REGIONS_PER_MEMORY * SONDE__REGION_HISTOGRAMS_SIZE)
#define SONDE__THREADS_SIZE (SONDE__RINGS_AT + SONDE__REGIONS_PER_MEMORY * SONDE__RING_SIZE)

/* PROCESS memfd. */
#define SONDE__DESCRIPTORS_AT SONDE__PAGE
#define SONDE__DESCRIPTORS_SIZE (4u << 20)
#define SONDE__SHARED_CELLS_AT (SONDE__DESCRIPTORS_AT + SONDE__DESCRIPTORS_SIZE)
#define SONDE__SHARED_CELLS_SIZE (SONDE_SERIES_MAX * 16u)
#define SONDE__SHARED_HISTOGRAMS_AT (SONDE__SHARED_CELLS_AT + SONDE__SHARED_CELLS_SIZE)
#define SONDE__SHARED_HISTOGRAMS_SIZE (8u << 20)
#define SONDE__EXTENTS_AT (SONDE__SHARED_HISTOGRAMS_AT + SONDE__SHARED_HISTOGRAMS_SIZE)
#define SONDE__EXEMPLARS_AT (SONDE__EXTENTS_AT + SONDE__EXTENTS * SONDE__EXTENT_SIZE)
#define SONDE__EXEMPLARS_SIZE (4u << 20)
#define SONDE__BREAKERS_AT (SONDE__EXEMPLARS_AT + SONDE__EXEMPLARS_SIZE)
#define SONDE__BREAKER_CELL_SIZE 8192u /* what is in one: resilience/breaker_cell.h */
#define SONDE__BREAKERS_SIZE (SONDE_BREAKERS_MAX * SONDE__BREAKER_CELL_SIZE)
#define SONDE__PROCESS_SIZE (SONDE__BREAKERS_AT + SONDE__BREAKERS_SIZE)
#define SONDE__PROCESS_SIZE_BEFORE_EXEMPLARS SONDE__EXEMPLARS_AT
#define SONDE__PROCESS_SIZE_BEFORE_BREAKERS SONDE__BREAKERS_AT

/* First bytes of every memfd. Written once, before the hand-over; magic last. */
struct sonde__memory_header {
    _Atomic uint32_t magic;
    uint16_t layout_major, layout_minor;
    uint32_t kind;  /* enum sonde__memory_kind */
    uint32_t index; /* of a THREADS memfd: 0..SONDE__THREAD_MEMORIES_MAX-1 */
    uint64_t size;
    uint8_t process_id[16]; /* random, one per process (a forked child has its own) */
    uint32_t pid;
    uint32_t regions;   /* THREADS: SONDE__REGIONS_PER_MEMORY */
    uint32_t ring_size; /* THREADS: power of two, 64 KiB..16 MiB */
    uint32_t reserved;
};

/* Signals and drop reasons as in sonde/options.h; kept wider so that minor versions can add some. */
#define SONDE__SIGNALS 3u
#define SONDE__DROP_REASONS 8u
struct sonde__drops {
    _Atomic uint64_t count[SONDE__SIGNALS][SONDE__DROP_REASONS];
};

enum sonde__exit_state { SONDE__RUNNING = 0, SONDE__EXITED_CLEANLY = 1 };

/* Header page of the PROCESS memfd. */
struct sonde__process {
    struct sonde__memory_header memory;
    uint64_t start_unix_ns;
    _Atomic uint32_t exit_state;       /* enum sonde__exit_state; set by exit() and sonde_shutdown() */
    _Atomic uint32_t series_count;     /* series described so far, index 1..series_count; index 0 is the no-op */
    _Atomic uint64_t descriptors_head; /* bytes of the descriptor log that are complete */
    _Atomic uint64_t histograms_head;  /* bytes of the shared histogram arena in use */
    _Alignas(64) struct sonde__drops drops; /* of threads without a region */
    _Atomic uint64_t attributes_dropped, contexts_dropped, measurements_dropped, doorbells;
    _Alignas(64) struct sonde__drops taken; /* by the agent, as in struct sonde__region */
    _Atomic uint64_t deltas_taken_ns;       /* by the agent: wall clock of its last export of deltas; 0 = none */
    _Atomic uint32_t callbacks; /* registered: without any, no use to ask (PULL) */
    _Alignas(64) _Atomic uint32_t collection; /* number of the collection period; the agent counts on when it exported */
    _Atomic uint64_t exemplars_head;          /* bytes of the exemplar arena in use */
    _Atomic uint32_t breakers;                /* cells that are made: the first so many */
};
_Static_assert(sizeof(struct sonde__process) <= SONDE__PAGE, "one page");

/* Records of the descriptor log (append-only, 8-aligned): scopes, instruments, series. `size` counts the whole record.
 * scope:       body = encoded opentelemetry InstrumentationScope message, then (schema_url) as `extra` bytes.
 * instrument, series: see ring/cells.h, where metric cells are laid out. */
enum sonde__descriptor_type { SONDE__DESCRIPTOR_SCOPE = 1, SONDE__DESCRIPTOR_INSTRUMENT, SONDE__DESCRIPTOR_SERIES };
struct sonde__descriptor {
    uint32_t size;  /* header, body, extra, padding to 8 */
    uint16_t type;  /* enum sonde__descriptor_type */
    uint16_t index; /* scope, instrument or series number */
    uint32_t body_size;
    uint32_t extra_size;
};

enum sonde__region_state { SONDE__REGION_FREE = 0, SONDE__REGION_ATTACHED = 1, SONDE__REGION_DETACHED = 2 };

/* Control page of a region. */
struct sonde__region {
    uint8_t ring_id[16];      /* random; set when the region is first attached, never changed */
    _Atomic uint32_t state;   /* enum sonde__region_state; DETACHED = its thread ended, ring may hold records */
    uint32_t tid;             /* last owner */
    _Atomic uint64_t histograms_head; /* bytes of this region's histogram arena in use */
    uint64_t reserved[4];
    _Alignas(64) _Atomic uint64_t head; /* producer line */
    _Atomic uint64_t base;
    _Alignas(64) struct sonde__drops drops;
    _Alignas(64) _Atomic uint64_t tail; /* consumer line: what the agent stores into service memory, and below it */
    struct sonde__drops taken;          /* drops that an agent has put into its ledger: the next agent goes on there */
};
_Static_assert(sizeof(struct sonde__region) <= SONDE__PAGE, "one page");

enum sonde__record_kind {
    SONDE__RECORD_SPAN = 1, /* body: opentelemetry Span message */
    SONDE__RECORD_LOG = 2,  /* body: opentelemetry LogRecord message */
};
/* In front of every ring record. */
struct sonde__record {
    uint32_t length; /* of the body, without padding: 1..SONDE_SPAN_SIZE_MAX+slack */
    uint8_t kind;    /* enum sonde__record_kind */
    uint8_t flags;   /* bit 0: error status or severity >= ERROR (rings the doorbell) */
    uint16_t scope;
};
#define SONDE__RECORD_FLAG_ERROR 1u
#define SONDE__RECORD_BODY_MAX (SONDE_SPAN_SIZE_MAX + 8192u)

enum sonde__slot_state { SONDE__SLOT_FREE = 0, SONDE__SLOT_OPEN = 1, SONDE__SLOT_ENDED = 2 /* elsewhere; owner reclaims */ };

#define SONDE__SLOT_HEADER 128u
#define SONDE__SLOT_BODY (SONDE__SLOT_SIZE - SONDE__SLOT_HEADER - SONDE__SLACK)

/* An open span. The body is a byte stream of `length` bytes: the first SONDE__SLOT_BODY are here, the rest in
 * 4 KiB extents in order. */
struct sonde__slot {
    /* one word: who has a handle of an open span finds both of its own */
    _Alignas(8) _Atomic uint32_t state;
    _Atomic uint32_t generation;
    /* one word, SONDE__FILL_*: what grows with every attribute */
    _Alignas(8) _Atomic uint32_t length;
    uint16_t name_offset, attributes;
    uint64_t start_ticks;
    _Atomic uint64_t commit_position; /* ring position behind its record; 0 = not committed */
    uint64_t key_bits[2];             /* key numbers seen; a clear bit proves that a key is new */
    /* one word: zero when the end has nothing to do but to copy the body */
    _Alignas(8) uint16_t attributes_dropped;
    uint16_t events_dropped, links_dropped;
    uint8_t status, has_extents;
    uint16_t events, links, scope, reserved_line0;
    uint16_t extents[SONDE__SLOT_EXTENTS]; /* at 64; extent number + 1, 0 = none; all 0 in a free slot */
    _Atomic uint8_t spin;
    uint8_t reserved_line1[3];
    uint32_t commit_region;         /* region (memory index * 16 + region) whose ring got the record */
    _Atomic uint64_t end_wanted_ns; /* an end that could not get the spin bit: its time, and the */
    _Atomic uint32_t end_wanted;    /* generation it is for; the owner ends the span when it needs slots */
    uint32_t reserved_line1_end;
    _Atomic uint64_t edit; /* SONDE__EDIT() while a field is being taken out, else 0 */
    uint8_t body[SONDE__SLOT_SIZE - SONDE__SLOT_HEADER];
};
/* While a field is taken out, and another put behind the end in its stead: the body is then `length` bytes of the stream
 * (not slot->length) without the `size` bytes at `at`. Each step of closing that gap is one store of this word. */
#define SONDE__EDIT(at, size, length) ((uint64_t)(at) | (uint64_t)(size) << 20 | (uint64_t)(length) << 40)
#define SONDE__EDIT_AT(edit)          ((uint32_t)(edit) & 0xFFFFFu)
#define SONDE__EDIT_SIZE(edit)        ((uint32_t)((edit) >> 20) & 0xFFFFFu)
#define SONDE__EDIT_LENGTH(edit)      ((uint32_t)((edit) >> 40) & 0xFFFFFu)
_Static_assert(offsetof(struct sonde__slot, generation) == 4 && offsetof(struct sonde__slot, attributes) == 14,
               "slot words");
_Static_assert(offsetof(struct sonde__slot, extents) == 64, "slot line 1");
_Static_assert(offsetof(struct sonde__slot, body) == SONDE__SLOT_HEADER, "slot body");
_Static_assert(sizeof(struct sonde__slot) == SONDE__SLOT_SIZE, "slot");

/* Fixed positions inside an encoded Span body, as sonde_span_start() writes it (field order is free in protobuf). */
enum {
    SONDE__BODY_TRACE_ID = 2,  /* 0A 10 */
    SONDE__BODY_SPAN_ID = 20,  /* 12 08 */
    SONDE__BODY_START = 29,    /* 39 */
    SONDE__BODY_END = 38,      /* 41 */
    SONDE__BODY_KIND = 47,     /* 30 */
    SONDE__BODY_FLAGS = 50,    /* 85 01: fixed32, bits 0-7 W3C flags, 8 has-is-remote, 9 is-remote */
    SONDE__BODY_ROOT = 54,     /* a root span's variable part starts here */
    SONDE__BODY_PARENT = 56,   /* 22 08 */
    SONDE__BODY_CHILD = 64,    /* a child's starts here */
};

/* What the operator wants of one service. Words throughout, so that a row is read without a lock. */
#define SONDE__STEERING_NAME_MAX 127u
struct sonde__steering {
    _Atomic uint64_t hash;     /* sonde__steering_hash() of the name; 0 = no more rows */
    _Atomic uint64_t sampling; /* SONDE__STEERING_SAMPLES | a threshold 0..2^56; 0 = the service decides */
    _Atomic uint64_t severity; /* of the least severe log record that is kept, 1..24; 0 = all */
    _Atomic uint64_t name[(SONDE__STEERING_NAME_MAX + 1) / 8]; /* service.name, zeros behind it; "*" = every service */
};
#define SONDE__STEERING_SAMPLES ((uint64_t)1 << 63)
#define SONDE__STEERINGS        128u

/* The agent's control page: the agent's own memfd, read-only to services (F_SEAL_FUTURE_WRITE, SHRINK, GROW). Minor 0
 * has its first page only, and steering_generation 0. Behind it stand two tables of steering: the one in force is that
 * of the generation's lowest bit; the agent fills the other and then counts on, so a reader never waits for a writer. */
struct sonde__control {
    _Atomic uint32_t magic;
    uint16_t layout_major, layout_minor;
    _Atomic uint64_t sleep_sequence;      /* odd while the agent sleeps; each sleep has its own number */
    _Atomic uint64_t start_unix_ns;       /* of this agent; tells a restart */
    _Atomic uint64_t steering_generation; /* 0 = no tables; begins at the start time: no two agents share one */
    uint64_t reserved[12];
};
#define SONDE__STEERING_AT   SONDE__PAGE
#define SONDE__STEERING_SIZE (SONDE__STEERINGS * (uint32_t)sizeof(struct sonde__steering)) /* of one table */
#define SONDE__CONTROL_SIZE                                                                                            \
    ((SONDE__STEERING_AT + 2u * SONDE__STEERING_SIZE + SONDE__PAGE - 1u) / SONDE__PAGE * SONDE__PAGE)
_Static_assert(sizeof(struct sonde__control) == 128, "control page");

#endif
