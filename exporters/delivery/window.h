/* SPDX-License-Identifier: Apache-2.0 */
/* The window: records taken from the cursor and not yet released, in order of sequence.
 * Requests end in any order and may hold parts of a record; the window puts the outcomes back in order, so that the
 * cursor only passes what is done with, and so that the ledger counts an item in the same moment as the cursor passes
 * it: `appended = queued + in flight + delivered + dropped + refused` then holds at every moment, whatever is out of
 * order. */
#ifndef SONDE_EXPORTERS_WINDOW_H
#define SONDE_EXPORTERS_WINDOW_H

#include "exporters/exporter.h"

enum sonde__fate {
    SONDE__FATE_DELIVERED = 0,
    SONDE__FATE_REFUSED,
    SONDE__FATE_REJECTED,
    SONDE__FATE_TOO_BIG,
    SONDE__FATE_COUNT
};

struct sonde__window_entry {
    uint64_t sequence;
    uint32_t open; /* items without a fate */
    enum sonde_signal signal;
    uint32_t items[SONDE__FATE_COUNT];
};

struct sonde__window {
    struct sonde_alloc alloc;
    struct sonde_record_log log;
    uint32_t cursor;
    struct sonde_export_account account;
    struct sonde__window_entry *entries; /* owned; a ring of `capacity` (a power of two) */
    size_t capacity;
    uint64_t first, end; /* positions, ever growing; entry of p is entries[p & (capacity - 1)] */
};

void sonde__window_init(struct sonde__window *window, const struct sonde_exporter_env *env);
/** What has a fate is accounted; the rest is only no longer in flight: it stays in the queue. Releases nothing. */
void sonde__window_deinit(struct sonde__window *window);

/** Makes room for one more entry. Returns 0 or -ENOMEM. */
int sonde__window_reserve(struct sonde__window *window);
/** Adds a record (after a reserve) and accounts it as in flight. Returns its position. */
uint64_t sonde__window_add(struct sonde__window *window, const struct sonde_record_view *record);
/** Gives `count` items of the record at a position their fate; releases what is done with at the front. The record's
 * bytes are gone after this when it was the last open one at the front. */
void sonde__window_settle(struct sonde__window *window, uint64_t position, enum sonde__fate fate, uint32_t count);
/** True when every record taken has been released. */
static inline bool sonde__window_is_empty(const struct sonde__window *window) {
    return window->first == window->end;
}

#endif
