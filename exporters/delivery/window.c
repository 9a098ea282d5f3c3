/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/delivery/window.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

void sonde__window_init(struct sonde__window *window, const struct sonde_exporter_env *env) {
    *window = (struct sonde__window){
        .alloc = env->seams.alloc, .log = env->log, .cursor = env->cursor, .account = env->account};
}

static struct sonde__window_entry *window_at(const struct sonde__window *window, uint64_t position) {
    return &window->entries[position & (window->capacity - 1)];
}

static void window_account(const struct sonde__window *window, const struct sonde__window_entry *entry) {
    const struct sonde_export_account *account = &window->account;
    uint64_t items = 0;
    for (int fate = 0; fate < SONDE__FATE_COUNT; fate++)
        items += entry->items[fate];
    account->in_flight(account->self, entry->signal, -(int64_t)(items + entry->open));
    if (entry->items[SONDE__FATE_DELIVERED])
        account->delivered(account->self, entry->signal, entry->items[SONDE__FATE_DELIVERED]);
    if (entry->items[SONDE__FATE_REFUSED])
        account->refused(account->self, entry->signal, entry->items[SONDE__FATE_REFUSED]);
    if (entry->items[SONDE__FATE_REJECTED])
        account->dropped(account->self, entry->signal, SONDE_EXPORT_DROP_REJECTED, entry->items[SONDE__FATE_REJECTED]);
    if (entry->items[SONDE__FATE_TOO_BIG])
        account->dropped(account->self, entry->signal, SONDE_EXPORT_DROP_TOO_BIG, entry->items[SONDE__FATE_TOO_BIG]);
}

void sonde__window_deinit(struct sonde__window *window) {
    for (; window->first != window->end; window->first++)
        window_account(window, window_at(window, window->first));
    sonde_alloc_free(&window->alloc, window->entries);
    window->entries = NULL;
    window->capacity = 0;
}

int sonde__window_reserve(struct sonde__window *window) {
    size_t used = (size_t)(window->end - window->first);
    if (used < window->capacity)
        return 0;
    size_t capacity = window->capacity ? window->capacity * 2 : 64;
    struct sonde__window_entry *entries = sonde_alloc_new(&window->alloc, capacity * sizeof *entries);
    if (!entries)
        return -ENOMEM;
    for (uint64_t p = window->first; p != window->end; p++)
        entries[p & (capacity - 1)] = *window_at(window, p);
    sonde_alloc_free(&window->alloc, window->entries);
    window->entries = entries;
    window->capacity = capacity;
    return 0;
}

/* Releases the finished records at the front with one call of the log for all of them. */
static void window_release(struct sonde__window *window) {
    uint64_t sequence = 0;
    while (window->first != window->end && window_at(window, window->first)->open == 0) {
        const struct sonde__window_entry *entry = window_at(window, window->first);
        window_account(window, entry);
        sequence = entry->sequence;
        window->first++;
    }
    if (sequence)
        window->log.release(window->log.self, window->cursor, sequence);
}

uint64_t sonde__window_add(struct sonde__window *window, const struct sonde_record_view *record) {
    assert((size_t)(window->end - window->first) < window->capacity);
    *window_at(window, window->end) =
        (struct sonde__window_entry){.sequence = record->sequence, .open = record->count, .signal = record->signal};
    window->account.in_flight(window->account.self, record->signal, (int64_t)record->count);
    uint64_t position = window->end++;
    if (record->count == 0)
        window_release(window);
    return position;
}

void sonde__window_settle(struct sonde__window *window, uint64_t position, enum sonde__fate fate, uint32_t count) {
    struct sonde__window_entry *entry = window_at(window, position);
    assert(position - window->first < window->end - window->first && count <= entry->open);
    entry->open -= count;
    entry->items[fate] += count;
    if (position == window->first && entry->open == 0)
        window_release(window);
}
